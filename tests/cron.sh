#!/bin/sh
# Installs deploy/cron/monitoring-token as its comment says, and has a real cron run it: in its own namespaces, on top
# of this machine's files, with the sandbox as Locate and a stand-in for ndt7-client. Takes up to a minute, because cron
# starts jobs at a full minute. As root, with cron. Usage: tests/cron.sh FOLDER-OF-PROGRAMS
set -eu
cd "$(dirname "$0")/.."
programs=$(realpath "${1?usage: tests/cron.sh FOLDER-OF-PROGRAMS}")
if [ "${2-}" != inside ]; then
    exec unshare --mount --pid --net --fork --mount-proc "$0" "$programs" inside
fi
fail() { echo "FAILED: $*" >&2; exit 1; }
ip link set lo up
work=/mnt
mount -t tmpfs tmpfs "$work"
for folder in etc var usr; do
    mkdir -p "$work/$folder/upper" "$work/$folder/work"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$work/$folder/upper,workdir=$work/$folder/work" "/$folder"
done
mount -t tmpfs tmpfs /run
rm -rf /etc/crontab /etc/cron.d/* /var/spool/cron/crontabs/*
install -m 755 "$programs/monitoring-token" "$programs/monitoring-sandbox" tests/stand-ins/ndt7-client /usr/bin/

. scripts/start-sandbox.sh
start_sandbox "$work/exports" /usr/bin/monitoring-sandbox
# shellcheck disable=SC1091 # the sandbox writes it
. "$work/exports"
cp "$MONITORING_SIGNER_KEY" "$work/monitoring-signer-key.json"
# The sandbox takes Locate's place, and the job runs every minute.
mkdir -p "$work/copy/deploy/cron"
sed -e "s|https://locate-dot-PROJECT.appspot.com|$SANDBOX_URL|" -e 's|^[0-9]*-59/5 |* |' deploy/cron/monitoring-token \
    >"$work/copy/deploy/cron/monitoring-token"
[ "$(grep -c '^\* ' "$work/copy/deploy/cron/monitoring-token")" = 2 ] || fail 'two lines'
sed -n 's/^#   //p' deploy/cron/monitoring-token >"$work/commands"
[ "$(wc -l <"$work/commands")" = 4 ] || fail 'four commands'
(cd "$work" && mv copy/deploy . && PATH=$PATH:/usr/sbin sh -eux commands) 2>"$work/log" || fail "the commands: $(cat "$work/log")"

cron -f >"$work/cron.log" 2>&1 &
cron=$!
tries=0
until [ -s /var/lib/monitoring-token/mlab1-lga0t.prom ] && [ -s /var/lib/monitoring-token/mlab2-lga0t.prom ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 400 ] || fail "no metrics after 80 s: $(cat "$work/cron.log"; ls -la /var/lib/monitoring-token)"
    sleep 0.2
done
for machine in mlab1-lga0t mlab2-lga0t; do
    file=/var/lib/monitoring-token/$machine.prom
    grep -q "^monitoring_token_run_success{machine=\"$machine\.mlab-sandbox.measurement-lab.org\",.*} 1\.0\$" "$file" ||
        fail "$machine: $(cat "$file")"
    [ "$(stat -c %U "$file")" = monitoring-token ] || fail "$file is of $(stat -c %U "$file")"
done
[ -n "$(ls /var/cache/monitoring-token)" ] || fail 'nothing in the cache'
kill "$cron" "$sandbox"
echo 'deploy/cron: ok'
