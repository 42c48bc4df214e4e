#!/bin/sh
# Installs the rpm into an empty root with rpm itself, runs the programs there, and removes it again.
# Usage: packaging/test-rpm.sh FILE.rpm (as root, or where users may make namespaces)
set -eu
cd "$(dirname "$0")/.."
package=$(realpath "${1?usage: packaging/test-rpm.sh FILE.rpm}")
command -v rpm >/dev/null || { echo 'make rpm: rpm is missing; install it (Debian: apt-get install rpm)' >&2; exit 1; }
if [ "$(id -u)" != 0 ]; then
    exec unshare --map-root-user --mount "$0" "$package"
fi
. scripts/start-sandbox.sh
work=$(mktemp -d)
sandbox=
trap '[ -z "$sandbox" ] || kill "$sandbox"; rm -rf "$work"' EXIT
root=$work/root
fail() { echo "FAILED: $*" >&2; exit 1; }
quiet_rpm() { rpm --root "$root" --dbpath /var/lib/rpm "$@" >"$work/rpm.log" 2>&1 || { cat "$work/rpm.log"; fail "rpm $*"; }; }

mkdir -p "$root/var/lib/rpm"
quiet_rpm --initdb
quiet_rpm --install "$package"
quiet_rpm --verify monitoring-token
[ "$(rpm --root "$root" --dbpath /var/lib/rpm --query --queryformat '%{NAME} %{LICENSE}' monitoring-token)" = 'monitoring-token Apache-2.0' ] ||
    fail 'name and license'
# No library and no script: only the requirements of rpm itself.
needs=$(rpm --query --package "$package" --requires | grep -v '^rpmlib(' || :)
[ -z "$needs" ] || fail "it needs $needs"
[ -z "$(rpm --query --package "$package" --scripts)" ] || fail 'it has scripts'

for file in bin/monitoring-token bin/monitoring-sandbox share/man/man1/monitoring-token.1.gz \
    share/bash-completion/completions/monitoring-token share/zsh/site-functions/_monitoring-token \
    share/fish/vendor_completions.d/monitoring-token.fish share/licenses/monitoring-token/LICENSE \
    share/doc/monitoring-token/README.md share/doc/monitoring-token/examples/alerts.yml; do
    [ -s "$root/usr/$file" ] || fail "no /usr/$file"
done
version=$(chroot "$root" /usr/bin/monitoring-token -version)
case $version in
"monitoring-token $(rpm --query --package --queryformat '%{VERSION}' "$package")"*) ;;
*) fail "the version is $version" ;;
esac
start_sandbox "$work/exports" "$root/usr/bin/monitoring-sandbox"
# shellcheck disable=SC1091 # the sandbox writes it
. "$work/exports"
cp "$MONITORING_SIGNER_KEY" "$root/key.json"
mkdir "$root/dev"
: >"$root/dev/null"
chroot "$root" /usr/bin/monitoring-token -monitoring-signer-key=/key.json "-machine=$MACHINE" -service=ndt/ndt7 \
    -- /usr/bin/monitoring-sandbox probe || fail "the run in the root: $?"

rm -f "$root/key.json" "$root/dev/null"
quiet_rpm --erase monitoring-token
left=$(cd "$root" && find . -type f ! -path './var/lib/rpm/*' ! -path './usr/lib/sysimage/*')
[ -z "$left" ] || fail "left behind: $left"
echo "$(basename "$package"): ok"
