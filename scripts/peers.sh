#!/bin/sh
# Installs the real peers, pinned, below .peers. Each comes from its own registry through the registry's own client.
set -eu
cd "$(dirname "$0")/.."
peers=$PWD/.peers
mkdir -p "$peers/bin"

if ! command -v go >/dev/null 2>&1; then
    echo "make interop: Go is missing; install Go 1.26 or later to test against the real peers" >&2
    exit 1
fi
export GOBIN="$peers/bin" GOFLAGS=-mod=readonly

# The requested version is recorded next to a peer, so that a later run finds it. install_go NAME MODULE@VERSION
install_go() {
    if [ "$(cat "$peers/bin/.$1" 2>/dev/null)" != "$2" ] || [ ! -x "$peers/bin/$1" ]; then
        go install "$2"
        echo "$2" >"$peers/bin/.$1"
    fi
}

# A mock of StackState, made from its specification.
prism() {
    if ! command -v npm >/dev/null 2>&1; then
        echo "make interop: npm is missing; install Node.js 20 or later" >&2
        exit 1
    fi
    prism=5.16.0
    if [ "$(cat "$peers/npm/version" 2>/dev/null)" != "$prism" ]; then
        npm install --silent --no-audit --no-fund --prefix "$peers/npm" "@stoplight/prism-cli@$prism"
        echo "$prism" >"$peers/npm/version"
    fi
}

# npm waits for the network while Go compiles.
prism &
npm=$!
(cd tests/interop/go && go build -o "$peers/bin/gopeer" . && go install tool)
# Programs that tests/deploy.sh validates and packs with.
(cd tests/interop/manifests && go build -o "$peers/bin/manifests" .)
install_go actionlint github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
install_go helm helm.sh/helm/v3/cmd/helm@v3.18.6
install_go nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
command -v kubectl >/dev/null 2>&1 || install_go kustomize sigs.k8s.io/kustomize/kustomize/v5@v5.8.0
wait "$npm"
