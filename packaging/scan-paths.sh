#!/bin/sh
# Fails if a program contains a path of the machine that built it.
#
# Usage: packaging/scan-paths.sh PROGRAM...
set -eu
cd "$(dirname "$0")/.."
status=0
for program in "$@"; do
    for path in "$PWD" "${CARGO_HOME:-$HOME/.cargo}" "$(rustc --print sysroot)" "$HOME/"; do
        if grep -aoF -m 3 -e "$path" "$program" >/dev/null; then
            echo "$program holds $path: $(strings -n 8 "$program" | grep -F -m 3 -e "$path" | cut -c 1-200)" >&2
            status=1
        fi
    done
done
exit "$status"
