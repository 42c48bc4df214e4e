#!/bin/sh
# Installs m-lab's own monitoring-token, pinned, into .peers/original, for `make bench` to compare with. If Go or the
# module is not available, it says so, and the comparison is with the floor program.
set -eu
cd "$(dirname "$0")/.."
module=github.com/m-lab/locate/cmd/monitoring-token@v0.17.6
program=$PWD/.peers/original/monitoring-token
[ ! -x "$program" ] || exit 0
if ! command -v go >/dev/null 2>&1; then
    echo "no Go here to install $module with"
elif ! answer=$(GOBIN="${program%/*}" go install "$module" 2>&1); then
    echo "cannot install $module:" "$(printf '%s\n' "$answer" | tail -n 1)"
fi
