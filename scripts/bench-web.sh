#!/usr/bin/env bash
# Builds in release and measures the dashboard in Debian's Chromium, each figure beside its bound; it fails when one does not hold.
# It takes about four minutes; --quick takes one, with a shorter stream, a smaller lab and a shorter history.
#
# Everything that was started is ended by its process id.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'bench-web: %s\n' "$*" >&2; }
if [ "${1:-}" = --quick ]; then
    export MMN_BENCH_QUICK=1
    shift
fi
if [ "${1:-}" != --inside ]; then
    command -v "${MMN_CHROMIUM:-chromium}" >/dev/null || { say "there is no Chromium: scripts/setup.sh --test installs it"; exit 1; }
    scripts/build-web.sh
    cargo build --release --locked --package mmn
    MMN=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/release/mmn
    MMN_NATS_SERVER=${MMN_NATS_SERVER:-$(scripts/nats-server.sh)}
    MMN_CHROMIUM=$(command -v "${MMN_CHROMIUM:-chromium}")
    PATH=$(scripts/node-env.sh):$PATH
    export MMN MMN_NATS_SERVER MMN_CHROMIUM PATH
    # Browsers like to call home: it all runs in a network namespace that has loopback alone.
    unshare=(unshare --net)
    [ "$(id -u)" -eq 0 ] || unshare+=(--map-root-user)
    exec "${unshare[@]}" "$0" --inside
fi
ip link set lo up
cd web
NO_COLOR=1 exec npm run --silent bench
