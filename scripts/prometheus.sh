#!/bin/sh
# Prints a directory that holds `promtool` and `prometheus`.
#
# Order: $MMN_PROMETHEUS (a directory), PATH, the project's own cache. When none will do, Debian's package is fetched
# through apt into the cache, which checks its signature, and the two programs are taken out of it. Nothing is
# installed, no service is started, and it needs no root. Two runs at once are safe: the directory is renamed into place.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cache=$root/.cache/prometheus
work=

say() { printf '%s\n' "prometheus.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

# usable DIR: do both programs of it run?
usable() {
    "$1/promtool" --version >/dev/null 2>&1 && "$1/prometheus" --version >/dev/null 2>&1
}

if [ -n "${MMN_PROMETHEUS:-}" ]; then
    usable "$MMN_PROMETHEUS" || fail "MMN_PROMETHEUS=$MMN_PROMETHEUS holds no promtool and prometheus that run"
    printf '%s\n' "$MMN_PROMETHEUS"
    exit 0
fi
on_path=$(command -v promtool || true)
for candidate in "${on_path%/promtool}" "$cache/bin"; do
    if [ -n "$candidate" ] && usable "$candidate"; then
        printf '%s\n' "$candidate"
        exit 0
    fi
done

for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null 2>&1 ||
        fail "promtool and prometheus are not on PATH, and without $tool they can't be taken from Debian's package: install Prometheus"
done
mkdir -p "$cache"
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d "$cache/fetch.XXXXXX")
say "fetching Debian's prometheus"
# download [OPTION…]: fetches the package into the work directory.
download() {
    (cd "$work" && apt-get -q -o APT::Sandbox::User="$(id -un)" "$@" download prometheus >&2)
}
if ! download; then
    # The lists of a fresh machine may be empty, and only root may fill them: these are our own.
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    set -- -o Dir::State::lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives"
    apt-get -q -o APT::Sandbox::User="$(id -un)" "$@" update >&2 && download "$@" ||
        fail "apt has no package prometheus: install Prometheus, or put promtool and prometheus on PATH"
fi
dpkg-deb -x "$work"/prometheus_*.deb "$work/tree"
mkdir "$work/bin"
mv "$work/tree/usr/bin/promtool" "$work/tree/usr/bin/prometheus" "$work/bin/"
usable "$work/bin" || fail "what Debian's package holds does not run on this machine"
rm -rf "$cache/bin"
mv -T "$work/bin" "$cache/bin" 2>/dev/null || usable "$cache/bin" || fail "$cache/bin can't be written"
printf '%s\n' "$cache/bin"
