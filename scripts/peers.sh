#!/bin/sh
# Installs the real peers, pinned, below .peers. Each comes from its own registry by its ordinary client.
set -eu
cd "$(dirname "$0")/.."
peers=$PWD/.peers
mkdir -p "$peers/bin"

if ! command -v go >/dev/null 2>&1; then
    echo "make interop: Go is missing; install Go 1.26 or later to test against the real peers" >&2
    exit 1
fi
export GOBIN="$peers/bin" GOFLAGS=-mod=readonly
(cd tests/interop/go && go build -o "$peers/bin/gopeer" . && go install tool)

# A mock of StackState, made from its specification.
if ! command -v npm >/dev/null 2>&1; then
    echo "make interop: npm is missing; install Node.js 20 or later" >&2
    exit 1
fi
prism=5.16.0
if [ "$(cat "$peers/npm/version" 2>/dev/null)" != "$prism" ]; then
    npm install --silent --no-audit --no-fund --prefix "$peers/npm" "@stoplight/prism-cli@$prism"
    echo "$prism" >"$peers/npm/version"
fi
