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
