#!/bin/sh
# Runs each fuzz target for a bounded time (FUZZ_SECONDS each, 20 by default), from the corpus in the tree. New inputs
# are written to fuzz/target, and failing ones to fuzz/artifacts. Needs a nightly compiler.
set -eu
cd "$(dirname "$0")/.."

PATH="$PWD/.peers/bin:$PATH"
command -v cargo-fuzz >/dev/null || cargo install --locked --version 0.13.2 --root .peers cargo-fuzz

targets=${*:-$(cargo +nightly fuzz list)}
for target in $targets; do
    echo "== $target"
    grown="fuzz/target/corpus/$target"
    mkdir -p "$grown"
    cargo +nightly fuzz run "$target" "$grown" "fuzz/corpus/$target" -- \
        -max_total_time="${FUZZ_SECONDS:-20}" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=0
done
echo "no target failed"
