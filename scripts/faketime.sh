#!/bin/sh
# Prints the path of libfaketime.so.1, which gives a process another time of day when it is preloaded.
#
# Order: $MMN_FAKETIME, the project's own cache. When neither will do, the library is taken out of Debian's package. Two
# runs at once are safe: it is renamed into place.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cache=$root/.cache/faketime
library=$cache/libfaketime.so.1

fail() { printf '%s\n' "faketime.sh: $*" >&2; exit 1; }

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

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$root/scripts/debian-package.sh" libfaketime "$work" || fail "set MMN_FAKETIME to the path of libfaketime.so.1"
found=$(find "$work/tree" -name libfaketime.so.1 | head -n 1)
[ -n "$found" ] && usable "$found" || fail "what Debian's package holds does not work on this machine"
mv "$found" "$library"
printf '%s\n' "$library"
