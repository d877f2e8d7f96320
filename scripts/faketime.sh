#!/bin/sh
# Prints the path of libfaketime.so.1, which gives a process another time of day when it is preloaded.
#
# Order: $MMN_FAKETIME, the project's own cache. When neither will do, Debian's package is fetched through apt into the
# cache, which checks its signature, and the library is taken out of it. Nothing is installed, and it needs no root. Two
# runs at once are safe: the library is renamed into place.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cache=$root/.cache/faketime
library=$cache/libfaketime.so.1
work=

say() { printf '%s\n' "faketime.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

# usable FILE: does it make another year of this one?
usable() {
    [ "$(LD_PRELOAD="$1" FAKETIME='@2001-01-01 00:00:00' date +%Y 2>/dev/null)" = 2001 ]
}

for candidate in "${MMN_FAKETIME:-}" "$library"; do
    if [ -n "$candidate" ] && [ -e "$candidate" ] && usable "$candidate"; then
        printf '%s\n' "$candidate"
        exit 0
    fi
done

for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null 2>&1 || fail "without $tool libfaketime can't be taken from Debian's package: set MMN_FAKETIME"
done
mkdir -p "$cache"
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d "$cache/fetch.XXXXXX")
say "fetching Debian's libfaketime"
# download [OPTION…]: fetches the package into the work directory.
download() {
    (cd "$work" && apt-get -q -o APT::Sandbox::User="$(id -un)" "$@" download libfaketime >&2)
}
if ! download; then
    # The lists of a fresh machine may be empty, and only root may fill them: these are our own.
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    set -- -o Dir::State::lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives"
    apt-get -q -o APT::Sandbox::User="$(id -un)" "$@" update >&2 && download "$@" ||
        fail "apt has no package libfaketime: set MMN_FAKETIME to the path of libfaketime.so.1"
fi
dpkg-deb -x "$work"/libfaketime_*.deb "$work/tree"
found=$(find "$work/tree" -name libfaketime.so.1 | head -n 1)
[ -n "$found" ] && usable "$found" || fail "what Debian's package holds does not work on this machine"
mv "$found" "$library"
printf '%s\n' "$library"
