#!/bin/sh
# Installs claude-relay-server and claude-relay for one user.
#
#   install.sh --from URL [--version VERSION] [--prefix DIRECTORY]
#
# URL is the address of a release: where SHA256SUMS and the archives are. Every
# file is checked against SHA256SUMS before anything is installed. The default
# prefix is ~/.local.
set -eu

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

from=${CLAUDE_RELAY_RELEASE-} version='' prefix=${HOME:?}/.local
while [ $# -gt 0 ]; do
    case $1 in
    --from) from=${2:?--from needs a URL} && shift 2 ;;
    --version) version=${2:?--version needs a version} && shift 2 ;;
    --prefix) prefix=${2:?--prefix needs a directory} && shift 2 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit ;;
    *) fail "unknown argument $1; see install.sh --help" ;;
    esac
done
[ -n "$from" ] || fail "where from? Give --from URL or CLAUDE_RELAY_RELEASE"
case $from in
https://* | http://127.0.0.1* | http://localhost*) ;;
*) fail "$from is not an https address" ;;
esac

[ "$(uname -s)" = Linux ] || fail "there are no binaries for $(uname -s)"
case $(uname -m) in
x86_64 | amd64) machine=x86_64 ;;
aarch64 | arm64) machine=aarch64 ;;
*) fail "there are no binaries for $(uname -m)" ;;
esac
# The binary for glibc needs 2.17; the static one runs everywhere. A system of musl
# may imitate the loader of glibc, too.
libc=static
for loader in /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1; do
    [ ! -e "$loader" ] || libc=glibc
done
for loader in /lib/ld-musl-*.so.1; do
    [ ! -e "$loader" ] || libc=static
done

if command -v curl >/dev/null; then
    get() { curl --fail --silent --show-error --location --proto '=https,http' --output "$2" "$1"; }
elif command -v wget >/dev/null; then
    get() { wget -q -O "$2" "$1"; }
else
    fail "neither curl nor wget was found"
fi
command -v sha256sum >/dev/null || fail "sha256sum was not found"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
get "$from/SHA256SUMS" "$work/SHA256SUMS" || fail "$from/SHA256SUMS cannot be fetched"

# The archive is chosen from the list, so that it names no version by itself.
archive=$(sed -n "s/^[0-9a-f]\{64\}  \(claude-relay-${version:-[0-9][0-9A-Za-z.+-]*}-$machine-linux-$libc\.tar\.gz\)\$/\1/p" "$work/SHA256SUMS" | tail -n 1)
[ -n "$archive" ] || fail "the release has no archive for $machine Linux ($libc)${version:+, version $version}"
get "$from/$archive" "$work/$archive" || fail "$from/$archive cannot be fetched"
grep -F "  $archive" "$work/SHA256SUMS" >"$work/sum"
(cd "$work" && sha256sum -c sum >/dev/null 2>&1) || fail "$archive does not have the checksum of SHA256SUMS: nothing was installed"

tar -xzf "$work/$archive" -C "$work"
directory=$work/${archive%.tar.gz}
"$directory/bin/claude-relay-server" --version >/dev/null || fail "the binary does not run here: nothing was installed"
mkdir -p "$prefix"
# Each file is put beside its place and renamed, so that a running server keeps
# its own.
(cd "$directory" && find bin share -type f) | while read -r file; do
    mkdir -p "$prefix/$(dirname "$file")"
    cp "$directory/$file" "$prefix/$file.new"
    mv "$prefix/$file.new" "$prefix/$file"
done
printf 'installed %s in %s\n' "$("$prefix/bin/claude-relay-server" --version)" "$prefix/bin"
case :$PATH: in
*:"$prefix/bin":*) ;;
*) printf 'add it to PATH: export PATH="%s/bin:$PATH"\n' "$prefix" ;;
esac
