#!/bin/sh
# debian-package.sh PACKAGE DIR: unpacks a Debian package into DIR/tree, which is this caller's own.
#
# It is fetched through apt, which checks its signature. Nothing is installed, no service is started, and it needs no
# root. DIR is a directory for this run alone, on the file system where what is wanted of it goes.
set -eu

package=$1
work=$2

fail() { printf '%s\n' "debian-package.sh: $*" >&2; exit 1; }

for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null 2>&1 || fail "without $tool nothing can be taken from Debian's package $package"
done
# download [OPTION…]: fetches the package into the work directory.
download() {
    (cd "$work" && apt-get -q -o APT::Sandbox::User="$(id -un)" "$@" download "$package" >&2)
}
printf '%s\n' "fetching Debian's $package" >&2
if ! download; then
    # The lists of a fresh machine may be empty, and only root may fill them: these are our own.
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    set -- -o Dir::State::lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives"
    apt-get -q -o APT::Sandbox::User="$(id -un)" "$@" update >&2 && download "$@" || fail "apt has no package $package"
fi
dpkg-deb -x "$work/$package"_*.deb "$work/tree"
