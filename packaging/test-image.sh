#!/bin/sh
# Builds deploy/Dockerfile with buildah, in a store of its own and without asking a registry, and tries the images.
# The digests of the base images are left out, because stand-ins for those images are built here:
#   packaging/test-image.sh full   Debian's own, with this machine's Rust: everything is compiled in it
#   packaging/test-image.sh        a shell, and a make that hands out the programs of `make build`
# As root; fetches buildah, and debootstrap or busybox-static, with apt-get.
set -eu
cd "$(dirname "$0")/.."
target=${TARGET:-$(rustc --print host-tuple)}
case ${1-} in
full) packages='buildah busybox-static debootstrap' ;;
'') packages='buildah busybox-static' ;;
*) echo 'usage: packaging/test-image.sh [full]' >&2; exit 2 ;;
esac
for package in $packages; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "$package" >/dev/null
done

. scripts/start-sandbox.sh
work=$(mktemp -d)
sandbox=
# Only buildah removes the store, because it has mounts there.
store() { buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs "$@"; }
cleanup() {
    [ -z "$sandbox" ] || kill "$sandbox"
    store rm --all >/dev/null 2>&1 || :
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 143' TERM INT
fail() { echo "FAILED: $*" >&2; exit 1; }

# The root of the builder.
base=$work/base
sed 's/@sha256:[0-9a-f]*//' deploy/Dockerfile >"$work/Dockerfile"
builder=$(sed -n 's/^FROM \(.*\) AS build$/\1/p' "$work/Dockerfile")
if [ "${1-}" = full ]; then
    debootstrap --variant=minbase --include=ca-certificates,gcc,git,libc6-dev,make,perl \
        bookworm "$base" http://deb.debian.org/debian >"$work/log" 2>&1 || { cat "$work/log"; fail debootstrap; }
    cp -a "$(rustc --print sysroot)/bin" "$(rustc --print sysroot)/lib" "$base/usr/local/"
    crates=${CARGO_HOME:-$HOME/.cargo}/registry
    mkdir -p "$crates"
    set -- --volume "$crates:/root/.cargo/registry"
else
    mkdir -p "$base/bin" "$base/etc/ssl/certs" "$base/prebuilt" "$base/root" "$base/tmp"
    cp "$(command -v busybox)" "$base/bin/busybox"
    for tool in sh cp mkdir; do ln -s busybox "$base/bin/$tool"; done
    cp /etc/ssl/certs/ca-certificates.crt "$base/etc/ssl/certs/"
    cp "target/$target/release/monitoring-token" "target/$target/release/monitoring-sandbox" "$base/prebuilt/" ||
        fail 'no release programs: make build'
    printf '#!/bin/sh\nset -eu\ntarget=%s\n' "$target" >"$base/bin/make"
    cat >>"$base/bin/make" <<-'END'
		[ "$*" = "build TARGET=$target" ] || { echo "make $*" >&2; exit 1; }
		[ -f Cargo.lock ] && [ -f src/main.rs ] && [ ! -e target ] || { echo 'the sources are not as they should be' >&2; exit 1; }
		mkdir -p "target/$target/release"
		cp /prebuilt/* "target/$target/release/"
	END
    chmod +x "$base/bin/make"
    set --
fi
# base_image FOLDER NAME: makes an image of the folder.
base_image() {
    container=$(store from scratch)
    store add --quiet "$container" "$1" / >/dev/null
    store commit --quiet "$container" "docker.io/library/$2" >/dev/null
    store rm "$container" >/dev/null
    rm -rf "$1"
}
base_image "$base" "$builder"
mkdir -p "$work/busybox/bin"
cp "$(command -v busybox)" "$work/busybox/bin/busybox"
ln -s busybox "$work/busybox/bin/cp"
base_image "$work/busybox" "$(sed -n 's/^FROM \(.*\) AS init$/\1/p' "$work/Dockerfile")"

build() {
    store build --isolation chroot --pull-never --layers --file "$work/Dockerfile" \
        --ignorefile deploy/Dockerfile.dockerignore "$@" . >"$work/log" 2>&1 || { cat "$work/log"; fail 'the build'; }
}
build --build-arg VERSION=1.2.3 --build-arg REVISION=abc --tag monitoring-token "$@"
build --target init --tag monitoring-token:init "$@"

# It holds two programs, the certificate authorities and the license, and nothing else.
container=$(store from --pull-never monitoring-token)
root=$(store mount "$container")
files=$(cd "$root" && find . -type f -o -type l | sort | tr '\n' ' ')
[ "$files" = './etc/ssl/certs/ca-certificates.crt ./usr/bin/monitoring-sandbox ./usr/bin/monitoring-token ./usr/share/doc/monitoring-token/LICENSE ' ] ||
    fail "the image holds $files"
grep -q 'BEGIN CERTIFICATE' "$root/etc/ssl/certs/ca-certificates.crt" || fail 'no authorities'
size=$(du -sk "$root" | cut -f1)
[ "$size" -lt 16384 ] || fail "the image has $size KiB"

# It runs as nobody, as in its manifest.
in_image() { store run --isolation chroot "$@"; }
[ "$(store inspect --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}' "$container")" = \
    '65534:65534 [/usr/bin/monitoring-token]' ] || fail 'user or entry point'
label() { store inspect --format "{{index .OCIv1.Config.Labels \"org.opencontainers.image.$1\"}}" "$container"; }
[ "$(label version) $(label revision) $(label licenses)" = '1.2.3 abc Apache-2.0' ] || fail 'labels'
version=$(in_image "$container" -- /usr/bin/monitoring-token --version)
case $version in
"monitoring-token $(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)"*) ;;
*) fail "the version is $version" ;;
esac
! in_image "$container" -- /bin/sh -c true 2>/dev/null || fail 'there is a shell'

start_sandbox "$work/exports" "$root/usr/bin/monitoring-sandbox"
# shellcheck disable=SC1091 # the sandbox writes it
. "$work/exports"
mkdir "$work/keys"
install -o 65534 -m 400 "$MONITORING_SIGNER_KEY" "$work/keys/monitoring-signer-key.json"
chmod 755 "$work"
as_deployed() {
    in_image --volume "$work/keys:/keys:ro" --env MONITORING_SIGNER_KEY=/keys/monitoring-signer-key.json \
        --env "LOCATE_URL=$LOCATE_URL" "$container" -- /usr/bin/monitoring-token "-machine=$MACHINE" -retries=0 "$@"
}
as_deployed -service=ndt/ndt7 -- /usr/bin/monitoring-sandbox probe || fail "the run in the image: $?"
status=0
as_deployed -service=ndt/ndt7 -- /usr/bin/nobody 2>"$work/error" || status=$?
[ "$status" = 127 ] || fail "a command that is not there: $status, $(cat "$work/error")"
# As nobody: root's key cannot be read.
chown 0 "$work/keys/monitoring-signer-key.json"
status=0
as_deployed -service=ndt/ndt7 -- /usr/bin/monitoring-sandbox probe 2>"$work/error" || status=$?
if [ "$status" != 125 ] || ! grep -q 'ermission denied' "$work/error"; then
    fail "root's key: status $status, $(cat "$work/error")"
fi

# The init container fills an empty volume with the same tree, as in its manifest.
mkdir "$work/volume"
chown 65534 "$work/volume"
init=$(store from --pull-never monitoring-token:init)
store inspect --format '{{.OCIv1.Config.Entrypoint}}' "$init" | tr -d '[]' >"$work/entrypoint"
# shellcheck disable=SC2046 # its words
in_image --volume "$work/volume:/opt/monitoring-token" "$init" -- $(cat "$work/entrypoint") || fail 'the init container'
(cd "$work/volume" && find . -type f | sort) | tr '\n' ' ' >"$work/copied"
[ "$(cat "$work/copied")" = "$files" ] || fail "the init container copied $(cat "$work/copied")"
cmp "$work/volume/usr/bin/monitoring-token" "$root/usr/bin/monitoring-token" || fail 'a copy that differs'
echo "deploy/Dockerfile: ok, $size KiB, $version"
