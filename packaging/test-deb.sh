#!/bin/sh
# Installs the package into an empty root, runs the programs there, and removes it again.
# Usage: packaging/test-deb.sh FILE.deb (as root, or where users may make namespaces)
set -eu
cd "$(dirname "$0")/.."
deb=$(realpath "${1?usage: packaging/test-deb.sh FILE.deb}")
if [ "$(id -u)" != 0 ]; then
    exec unshare --map-root-user --mount "$0" "$deb"
fi
. scripts/start-sandbox.sh
work=$(mktemp -d)
sandbox=
trap '[ -z "$sandbox" ] || kill "$sandbox"; rm -rf "$work"' EXIT
root=$work/root
fail() { echo "FAILED: $*" >&2; exit 1; }

mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/triggers" "$root/etc"
: > "$root/var/lib/dpkg/status"
: > "$root/var/lib/dpkg/available"
(cd "$root" && find . -type f -o -type l | sort) > "$work/before"
# The static programs depend on nothing, so an empty root suffices; debug builds get their libraries.
depends=$(dpkg-deb --field "$deb" Depends)
quiet_dpkg() { dpkg --root="$root" --force-not-root --force-script-chrootless "$@" > "$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; fail "dpkg $*"; }; }
if [ -n "$depends" ]; then
    echo "note: depends on $depends; its libraries are lent" >&2
    quiet_dpkg --force-depends --install "$deb"
    ldd "$root/usr/bin/monitoring-token" "$root/usr/bin/monitoring-sandbox" | grep -o '/[^ ]*\.so[^ ]*' | sort -u |
        while read -r library; do install -D "$library" "$work/lent$library"; done
    (cd "$work/lent" && find . -type f -o -type l | sort) > "$work/lent.list"
    cp -a "$work/lent/." "$root/"
else
    : > "$work/lent.list"
    quiet_dpkg --install "$deb"
fi
[ "$(dpkg-query --admindir="$root/var/lib/dpkg" --show --showformat='${db:Status-Status}' monitoring-token)" = installed ] ||
    fail 'not installed'

# Each file exists and is readable.
for file in usr/bin/monitoring-token usr/bin/monitoring-sandbox; do
    [ -x "$root/$file" ] || fail "no $file"
done
for page in target/pages/man1/*.1; do
    file=usr/share/man/man1/$(basename "$page").gz
    gzip -dc "$root/$file" | cmp -s - "$page" || fail "$file is not $page"
done
for file in usr/share/bash-completion/completions/monitoring-token usr/share/zsh/vendor-completions/_monitoring-token \
    usr/share/fish/vendor_completions.d/monitoring-token.fish usr/share/doc/monitoring-token/copyright; do
    [ -s "$root/$file" ] || fail "no $file"
done
grep -q 'Apache License' "$root/usr/share/doc/monitoring-token/copyright" || fail 'the licence is not in copyright'
# Each link of the pages leads to a file.
for page in $(cd "$root/usr/share/doc/monitoring-token" && find . -name '*.md'); do
    page=$root/usr/share/doc/monitoring-token/$page
    for link in $(grep -o '](\(\.\./\)*[A-Za-z][^):#]*[)#]' "$page" | sed 's/^](//; s/.$//'); do
        [ -e "$(dirname "$page")/$link" ] || fail "$page: no $link"
    done
done
# README and examples (dpkg may compress large ones).
for file in README.md $(cd deploy && find . -type f | sed 's|^\./|examples/|'); do
    [ -s "$root/usr/share/doc/monitoring-token/$file" ] || [ -s "$root/usr/share/doc/monitoring-token/$file.gz" ] ||
        fail "no $file in the documentation"
done

# It runs: the whole chain, from the key to a target that accepts the token, with only /etc/hosts and /etc/resolv.conf
# around it.
printf '127.0.0.1 localhost locate.localhost\n' > "$root/etc/hosts"
printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' > "$root/etc/resolv.conf"
version=$(chroot "$root" /usr/bin/monitoring-token -version)
case $version in
"monitoring-token $(dpkg-deb --field "$deb" Version | sed 's/-[^-]*$//')"*) ;;
*) fail "the version is $version" ;;
esac
start_sandbox "$work/exports" "$root/usr/bin/monitoring-sandbox"
# shellcheck disable=SC1091 # the sandbox writes it
. "$work/exports"
cp "$MONITORING_SIGNER_KEY" "$root/key.json"
in_root() { chroot "$root" /usr/bin/monitoring-token -monitoring-signer-key=/key.json "-machine=$MACHINE" -retries=0 "$@"; }
unset MONITORING_SIGNER_KEY
# A container has a /dev/null. Without one, the run fails with 125, which once looked like a failure of the command.
for output in discard inherit; do
    status=0
    in_root -output=$output -service=ndt/ndt7 -- /usr/bin/monitoring-sandbox probe 2> "$work/error" || status=$?
    if [ "$status" != 125 ] || ! grep -q 'needs a /dev/null' "$work/error"; then
        fail "without /dev/null: status $status, $(cat "$work/error")"
    fi
done
mkdir "$root/dev"
: > "$root/dev/null"
in_root -service=ndt/ndt7 -- /usr/bin/monitoring-sandbox probe || fail "the run in the root: $?"
# A name that is only in /etc/hosts; then one that does not exist.
in_root "-locate-url=$(printf %s "$LOCATE_URL" | sed 's/127\.0\.0\.1/locate.localhost/')" -service=ndt/ndt7 \
    -- /usr/bin/monitoring-sandbox probe 2>/dev/null || fail "the run with a name from /etc/hosts: $?"
status=0
in_root -locate-url=http://nobody.test/ -timeout=20s -- /usr/bin/monitoring-sandbox probe 2> "$work/error" || status=$?
if [ "$status" != 125 ] || ! grep -q nobody.test "$work/error"; then
    fail "an unknown name: status $status, $(cat "$work/error")"
fi
status=0
in_root -service=ndt/ndt7 -- /bin/sh 2>/dev/null || status=$?
[ "$status" = 127 ] || fail "there is no shell, but the status is $status"

# Removing it leaves nothing behind.
rm -f "$root/key.json" "$root/dev/null" "$root/etc/hosts" "$root/etc/resolv.conf"
quiet_dpkg --purge monitoring-token
(cd "$root" && find . -type f -o -type l | sort) |
    grep -vxF -f "$work/before" | grep -vxF -f "$work/lent.list" | grep -v '^\./var/lib/dpkg/' > "$work/left" || :
[ ! -s "$work/left" ] || fail "left behind: $(cat "$work/left")"
echo "$(basename "$deb"): ok"
