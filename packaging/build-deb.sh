#!/bin/sh
# Makes the Debian package in target/debian/, and prints its path.
# Usage: packaging/build-deb.sh [dev]; with `dev` of the debug programs, for trying the packaging out.
set -eu
cd "$(dirname "$0")/.."
cargo_deb=3.8.0
target=${TARGET:-$(rustc --print host-tuple)}

if ! .peers/cargo/bin/cargo-deb --version 2>/dev/null | grep -qwF "$cargo_deb"; then
    # It is made faster than it then is fast.
    cargo install --quiet --debug --locked --root .peers/cargo --target-dir .peers/cargo-target cargo-deb@"$cargo_deb" >&2
fi
cargo run --quiet --locked --package xtask -- pages
if [ "${1-}" = dev ]; then
    cargo build --quiet --locked
    cargo build --quiet --locked --package monitoring-sandbox
    set -- --profile dev --no-strip
else
    # Static: runs on any distribution, and in an empty container.
    make --no-print-directory build "TARGET=$target" >&2
    set -- --target "$target"
fi
.peers/cargo/bin/cargo-deb deb --no-build --locked --output target/debian/ "$@"
