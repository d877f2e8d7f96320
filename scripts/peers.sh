#!/bin/sh
# peers.sh PROGRAM: prints the path of fping, scamper or ping (iputils), the yardsticks of `make bench-engine`.
#
# Order: PATH, the project's own cache. Where neither has it, it is taken out of Debian's package. Two runs at once are
# safe: it is renamed into place.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
program=$1
cached=$root/.cache/peers/$program

fail() { printf '%s\n' "peers.sh: $*" >&2; exit 1; }

case $program in
    fping | scamper) package=$program ;;
    ping) package=iputils-ping ;;
    *) fail "$program is none of fping, scamper, ping" ;;
esac
for candidate in "$(command -v "$program" || true)" "$cached"; do
    if [ -x "$candidate" ]; then
        printf '%s\n' "$candidate"
        exit 0
    fi
done

mkdir -p "$root/.cache/peers"
work=$(mktemp -d "$root/.cache/peers/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$root/scripts/debian-package.sh" "$package" "$work" || fail "install $program"
found=$(find "$work/tree" -type f -name "$program" -perm -100 | head -n 1)
[ -n "$found" ] || fail "Debian's package $package has no $program"
mv "$found" "$cached"
printf '%s\n' "$cached"
