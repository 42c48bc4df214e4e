#!/bin/sh
# A probe against the sandbox: a temporary key, a sandbox on a free port, one run with debug on. Succeeds only if the
# target server accepted the token. Usage: scripts/demo.sh FOLDER-OF-BINARIES
set -eu

. "$(dirname "$0")/start-sandbox.sh"
bin=$1
work=$(mktemp -d)
sandbox=
cleanup() {
    if [ -n "$sandbox" ]; then kill "$sandbox" 2>/dev/null || true; wait "$sandbox" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n== %s\n' "$*"; }

say "a temporary key: monitoring-token key generate"
"$bin/monitoring-token" key generate --kid demo --out "$work/key"
"$bin/monitoring-token" key inspect "$work/key"

say "a sandbox that knows its public half: monitoring-sandbox --verify-key key.pub"
start_sandbox "$work/env" "$bin/monitoring-sandbox" --verify-key "$work/key.pub"
grep -E 'LOCATE_URL|MACHINE' "$work/env"
. "$work/env"
export MONITORING_SIGNER_KEY="$work/key"

say "monitoring-token -service=ndt/ndt7 -logx.debug=true -- monitoring-sandbox probe"
"$bin/monitoring-token" -service=ndt/ndt7 -logx.debug=true -- "$bin/monitoring-sandbox" probe

say "without a token, the same target refuses"
if "$bin/monitoring-sandbox" probe "ws://${SANDBOX_URL#http://}/ndt/v7/download"; then
    echo "the target accepted a client without a token" >&2
    exit 1
fi

say "the target accepted the token"
