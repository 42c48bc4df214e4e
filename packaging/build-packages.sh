#!/bin/sh
# Makes the Debian package and the rpm in target/packages/, and prints their paths.
# Usage: packaging/build-packages.sh [deb|rpm]...   (both)
set -eu
cd "$(dirname "$0")/.."
target=${TARGET:-$(rustc --print host-tuple)}
[ "$#" -gt 0 ] || set -- deb rpm
nfpm=.peers/bin/nfpm
if [ ! -x "$nfpm" ]; then
    # The version from scripts/peers.sh.
    module=$(grep -o 'github.com/goreleaser/nfpm[^ ]*@[^ ]*' scripts/peers.sh)
    GOBIN=$PWD/.peers/bin go install "$module" >&2
fi
case $target in
x86_64-*) ARCH=amd64 ;;
aarch64-*) ARCH=arm64 ;;
*) echo "packaging: no package for $target" >&2; exit 1 ;;
esac
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The same input gives the same package: times are those of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
MTIME=$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
RELEASE=1
export SOURCE_DATE_EPOCH

for kind in "$@"; do
    STAGE=target/packages/$kind
    rm -rf "$STAGE"
    mkdir -p "$STAGE"
    zsh=/usr/share/zsh/site-functions
    [ "$kind" = rpm ] || zsh=/usr/share/zsh/vendor-completions
    make --no-print-directory install TARGET="$target" DESTDIR="$STAGE" PREFIX=/usr ZSH_COMPLETIONS="$zsh" >&2
    doc=$STAGE/usr/share/doc/monitoring-token
    mkdir -p "$doc/examples"
    cp -R README.md SECURITY.md docs "$doc/"
    cp -R deploy/. "$doc/examples/"
    # The pages call the examples deploy/. A link to any other file of the repository leads nowhere here: its text stays.
    ln -s examples "$doc/deploy"
    find "$doc" -name '*.md' | while read -r page; do
        grep -o '](\(\.\./\)*[A-Za-z][^):#]*[)#]' "$page" | sed 's/^](//; s/.$//' | sort -u | while read -r link; do
            [ -e "$(dirname "$page")/$link" ] || sed -i "s|\[\([^]]*\)\]($link\(#[^)]*\)\{0,1\})|\1|g" "$page"
        done
    done
    find "$doc" -type f -exec chmod 644 {} +
    chmod 755 "$doc"/examples/jenkins/*.sh
    gzip -9n "$STAGE"/usr/share/man/man1/*.1
    gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
    if [ "$kind" = deb ]; then
        {
            printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n'
            printf 'Upstream-Name: monitoring-token\n\nFiles: *\nCopyright: 2026 The monitoring-token authors\nLicense: Apache-2.0\n'
            printf ' On Debian systems, the Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0.\n'
        } >"$doc/copyright"
        {
            printf 'monitoring-token (%s-%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n' "$VERSION" "$RELEASE"
            printf ' -- The monitoring-token maintainers <maintainers@monitoring-token.example>  %s\n' \
                "$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")"
        } | gzip -9n >"$doc/changelog.Debian.gz"
        overrides=$STAGE/usr/share/lintian/overrides
        mkdir -p "$overrides"
        cat >"$overrides/monitoring-token" <<-'END'
			# Intended: static programs run on any distribution and in an empty container.
			monitoring-token: statically-linked-binary [usr/bin/monitoring-sandbox]
			monitoring-token: statically-linked-binary [usr/bin/monitoring-token]
			# A package of the project itself does not close a request in Debian's bug tracker.
			monitoring-token: initial-upload-closes-no-bugs [usr/share/doc/monitoring-token/changelog.Debian.gz:1]
		END
    else
        mkdir -p "$STAGE/usr/share/licenses/monitoring-token"
        cp LICENSE "$STAGE/usr/share/licenses/monitoring-token/"
    fi
    find "$STAGE" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    sed -e "s|\${ARCH}|$ARCH|; s|\${VERSION}|$VERSION|; s|\${RELEASE}|$RELEASE|; s|\${MTIME}|$MTIME|; s|\${STAGE}|$STAGE|" \
        packaging/nfpm.yaml >target/packages/nfpm.yaml
    "$nfpm" package --config target/packages/nfpm.yaml --packager "$kind" --target target/packages/ >&2
done
for kind in "$@"; do
    case $kind in
    deb) echo "target/packages/monitoring-token_$VERSION-${RELEASE}_${ARCH}.deb" ;;
    rpm) echo "target/packages/monitoring-token-$VERSION-$RELEASE.${target%%-*}.rpm" ;;
    esac
done
