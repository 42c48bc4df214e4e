#!/bin/sh
# Runs the commands of docs/run/systemd.md as they stand there, under a real systemd: in a container that shares only
# /usr with this machine, with the sandbox as Locate and a stand-in for ndt7-client. Then removes the key, and expects
# the alert. As root, with systemd-nspawn and promtool. Usage: tests/walk-through.sh FILE.deb
set -eu
cd "$(dirname "$0")/.."
deb=$(realpath "${1?usage: tests/walk-through.sh FILE.deb}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
root=$work/root

# An empty machine: two users, no package.
mkdir -p "$root/etc/systemd/system" "$root/etc/default" "$root/etc/prometheus" "$root/usr" "$root/srv/target/packages" "$root/root" \
    "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/triggers" \
    "$root/var/lib/apt/lists/partial" "$root/var/cache/apt/archives/partial" "$root/var/log/apt" "$root/etc/apt/preferences.d"
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
cp -L /etc/os-release "$root/etc/"
: >"$root/var/lib/dpkg/status"
cp "$deb" "$root/srv/target/packages/"
cp scripts/start-sandbox.sh "$root/srv/"
# Files written below /usr go here.
mkdir -p "$work/usr/bin"
cp tests/stand-ins/ndt7-client "$work/usr/bin/"

# The commands. The package is already built, and the sandbox takes the place of M-Lab's Locate.
awk '/^```/{code = !code; next} code' docs/run/systemd.md |
    grep -vx 'make deb' | sed -e "s|https://locate-dot-mlab-sandbox.appspot.com|'\$SANDBOX_URL'|" \
    -e 's|https://data.example.org|$SANDBOX_URL|' -e 's| admin-token | /srv/admin-token |' >"$work/commands"
[ "$(grep -c systemctl "$work/commands")" -ge 3 ] || fail 'no commands in docs/run/systemd.md'
{
    cat <<'END'
set -eux
export HOME=/root DEBIAN_FRONTEND=noninteractive
unit=monitoring-token@mlab1-lga0t.mlab-sandbox.measurement-lab.org
file=/var/lib/monitoring-token/mlab1-lga0t.mlab-sandbox.measurement-lab.org.prom
cd /srv
# Unpacked before the package is installed: these programs play the other side of the network.
dpkg-deb -x target/packages/*.deb /opt
. ./start-sandbox.sh
start_sandbox /run/sandbox.env /opt/usr/bin/monitoring-sandbox
trap 'kill "$sandbox"; wait "$sandbox" || :' EXIT
(. /run/sandbox.env; cp "$MONITORING_SIGNER_KEY" monitoring-signer-key.json; printf %s "$GAFAELFAWR_ADMIN_TOKEN" >admin-token)
SANDBOX_URL=$(. /run/sandbox.env; echo "$SANDBOX_URL")
END
    cat "$work/commands"
    cat <<'END'
# has NAME VALUE: the metrics of the last run have it.
has() { grep -q "^monitoring_token_$1{.*} $2\.0\$" "$file"; }
has run_success 1
[ "$(stat -c '%U %a' "$file")" = 'monitoring-token 644' ]
systemctl is-active "$unit.timer"
[ -L "/etc/systemd/system/timers.target.wants/$unit.timer" ]
# The token in a file.
systemctl is-active monitoring-token-rotate@sasquatch.timer
[ "$(stat -c '%U %a' /var/lib/monitoring-token/sasquatch/token)" = 'monitoring-token 600' ]
grep -q '^gt-' /var/lib/monitoring-token/sasquatch/token
# The next result comes from the cache.
systemctl start "$unit.service"
has cached 1
has run_success 1
# A client that fails is a failure of the target; an unknown key, one of the probe.
rm -rf /var/cache/monitoring-token /var/cache/private/monitoring-token
mv /usr/bin/ndt7-client /usr/bin/ndt7-client.well
printf '#!/bin/sh\nexit 3\n' >/usr/bin/ndt7-client
chmod +x /usr/bin/ndt7-client
! systemctl start "$unit.service"
has exit_status 3
cp "$file" /srv/target.prom
mv /usr/bin/ndt7-client.well /usr/bin/ndt7-client
monitoring-token key generate --out /root/other
cp /root/other /etc/monitoring-token/monitoring-signer-key.json
! systemctl start "$unit.service"
has exit_status 125
cp "$file" /srv/probe.prom
journalctl --no-pager -u "$unit.service" | grep 'locate rejected the token (HTTP 401)'
END
} >"$root/srv/commands.sh"
cat >"$root/etc/systemd/system/walk.service" <<'END'
[Unit]
After=basic.target
Requires=basic.target
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/bin/sh /srv/commands.sh
StandardOutput=file:/srv/log
StandardError=inherit
TimeoutStartSec=100
KillMode=control-group
END

status=0
timeout --signal=KILL 150 systemd-nspawn --quiet --directory="$root" --overlay="/usr:$work/usr:/usr" --private-network \
    --register=no --keep-unit --machine=walk-through --console=pipe --boot -- --unit=walk.service \
    >"$work/console" 2>&1 </dev/null || status=$?
if [ "$status" != 0 ]; then
    cat "$work/console"
    cat "$root/srv/log" 2>/dev/null || :
    fail "the walk-through: status $status"
fi

# fires FILE SIDE ALERT: if the metrics in FILE last for a quarter of an hour, only this alert fires.
fires() {
    {
        printf 'rule_files: [%s]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n' \
            "$root/etc/prometheus/monitoring-token.yml"
        # The test begins at time zero, so the time of the run is left out.
        grep -v -e '^#' -e last_run_timestamp "$1" | sed "s/^\(.*}\) \(.*\)\$/      - {series: '\1', values: '\2+0x20'}/"
        printf '    promql_expr_test:\n      - {expr: "count by (alertname, side) (ALERTS{alertstate=\\"firing\\"})", eval_time: 15m,\n'
        printf "         exp_samples: [{labels: '{alertname=\"%s\",side=\"%s\"}', value: 1}]}\n" "$3" "$2"
    } >"$work/rules.test.yml"
    said=$(promtool test rules "$work/rules.test.yml" 2>&1) || fail "$1 does not make $3 fire: $said"
}
fires "$root/srv/probe.prom" probe MonitoringTokenKeyFailed
fires "$root/srv/target.prom" target MonitoringTokenTargetFailed
echo 'the walk-through: ok'
