#!/bin/sh
# Builds the files of a release for this machine's architecture in target/release-files/: an archive with the programs,
# man pages and completions, the Debian package, the rpm, and a list of dependencies (CycloneDX).
set -eu
cd "$(dirname "$0")/.."
target=${TARGET:-$(rustc --print host-tuple)}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
files=$PWD/target/release-files
name=monitoring-token-$version-$target
rm -rf "$files" "target/$name"
mkdir -p "$files"

make install "TARGET=$target" DESTDIR= "PREFIX=$PWD/target/$name"
cp LICENSE README.md CHANGELOG.md "target/$name/"
packaging/scan-paths.sh "target/$name/bin/monitoring-token" "target/$name/bin/monitoring-sandbox"
# The same commit gives the same archive.
tar --create --file - --directory target --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw \
    --mtime="@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}" "$name" | gzip -9n >"$files/$name.tar.gz"

packaging/build-packages.sh | while read -r package; do cp "$package" "$files/"; done

cyclonedx=0.5.9
if ! .peers/cargo/bin/cargo-cyclonedx cyclonedx --version 2>/dev/null | grep -qwF "$cyclonedx"; then
    cargo install --quiet --locked --root .peers/cargo "cargo-cyclonedx@$cyclonedx"
fi
PATH=$PWD/.peers/cargo/bin:$PATH cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" \
    --override-filename "sbom"
mv sbom.json "$files/$name.cdx.json"
find . -path ./target -prune -o -name sbom.json -print | while read -r other; do rm "$other"; done
ls -l "$files"
