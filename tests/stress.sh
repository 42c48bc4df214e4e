#!/bin/sh
# Runs the supervision tests again and again on a machine under load, then a thousand runs at once.
# Usage: tests/stress.sh [ROUNDS]
#
# Each round is limited to ROUND_SECONDS. This script stops everything that it starts.
set -eu

ROUNDS=${1:-10}
ROUND_SECONDS=300

cd "$(dirname "$0")/.."
cargo test --quiet --test promises --no-run

load=
trap 'for pid in $load; do kill "$pid" 2>/dev/null || :; done' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for _ in $(seq $(($(nproc) * 2))); do
    timeout 3600 sh -c "while :; do :; done" &
    load="$load $!"
done

round=0
while [ "$round" -lt "$ROUNDS" ]; do
    round=$((round + 1))
    echo "stress: round $round of $ROUNDS, with $(($(nproc) * 2)) busy loops beside it"
    timeout "$ROUND_SECONDS" cargo test --quiet --test promises -- supervise:: secrets::
done
echo "stress: a thousand runs at once"
timeout "$ROUND_SECONDS" cargo test --quiet --test promises -- --ignored supervise::stress::
echo "stress: passed"
