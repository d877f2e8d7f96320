#!/usr/bin/env bash
# Holds deploy/prometheus/ to promtool, to its tests, to a runbook for each alert, and to a live network: what a rule
# names is on the anchor's page, and a real Prometheus that scrapes it fires when modules are stopped and killed.
#
# Everything that was started is ended by its process id. It takes less than 40 s.
set -euo pipefail
cd "$(dirname "$0")/.."

mmn=${CARGO_TARGET_DIR:-target}/debug/mmn

tools=$(scripts/prometheus.sh)
[ -x "$mmn" ] || cargo build --locked --workspace --bins
MMN_NATS_SERVER=${MMN_NATS_SERVER:-$(scripts/nats-server.sh)}
export MMN_NATS_SERVER

dir=$(mktemp -d)
up=
finish() {
    if [ -n "$up" ]; then
        kill -TERM "$up" 2>/dev/null || true
        wait "$up" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$mmn" up --data "$dir/data" --listen 127.0.0.1:0 >"$dir/log" 2>&1 &
up=$!
status=0
python3 deploy/prometheus/tests/check.py --tools "$tools" --work "$dir" --up "$up" || status=$?
[ "$status" -eq 0 ] || tail -n 20 "$dir/log" >&2
exit "$status"
