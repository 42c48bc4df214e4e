#!/bin/sh
# Fails if a placeholder stands where a release needs the address of the project or its maintainers (RELEASING.md).
# Usage: packaging/check-release.sh [FOLDER]
set -eu
cd "${1:-$(dirname "$0")/..}"
if grep -rnF -e 'monitoring-token.example' Cargo.toml SECURITY.md deploy packaging/nfpm.yaml; then
    echo 'check-release: replace the placeholders above; RELEASING.md, "Once", says by what' >&2
    exit 1
fi
