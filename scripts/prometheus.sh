#!/bin/sh
# Prints a directory that holds `promtool` and `prometheus`.
#
# Order: $MMN_PROMETHEUS (a directory), PATH, the project's own cache. When none will do, the two programs are taken out
# of Debian's package. Two runs at once are safe: the directory is renamed into place.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cache=$root/.cache/prometheus
fail() { printf '%s\n' "prometheus.sh: $*" >&2; exit 1; }

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

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$root/scripts/debian-package.sh" prometheus "$work" ||
    fail "install Prometheus, or put promtool and prometheus on PATH"
mkdir "$work/bin"
mv "$work/tree/usr/bin/promtool" "$work/tree/usr/bin/prometheus" "$work/bin/"
usable "$work/bin" || fail "what Debian's package holds does not run on this machine"
rm -rf "$cache/bin"
mv -T "$work/bin" "$cache/bin" 2>/dev/null || usable "$cache/bin" || fail "$cache/bin can't be written"
printf '%s\n' "$cache/bin"
