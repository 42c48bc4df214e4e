#!/bin/sh
# Builds the committed sources twice, in folders and cargo homes with different names, and compares the programs.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
home=${CARGO_HOME:-$HOME/.cargo}
target=${TARGET:-$(rustc --print host-tuple)}
for folder in first "another/folder/with a longer name"; do
    # RUSTFLAGS cannot hold a path with spaces.
    folder=$work/$(printf %s "$folder" | tr ' ' _)
    mkdir -p "$folder/home"
    # The crates are shared, under different paths.
    for part in registry git bin config.toml; do
        [ ! -e "$home/$part" ] || ln -s "$home/$part" "$folder/home/"
    done
    git clone --quiet --no-hardlinks . "$folder/source"
    CARGO_HOME=$folder/home make --no-print-directory -C "$folder/source" build "TARGET=$target"
    (cd "$folder/source/target/$target/release" && sha256sum monitoring-token monitoring-sandbox) >>"$work/sums"
done
sort "$work/sums" | uniq -c
[ "$(sort -u "$work/sums" | wc -l)" = 2 ] || { echo 'the two builds differ' >&2; exit 1; }
echo 'reproducible: ok'
