#!/usr/bin/env bash
# Puts the Python module mmn into a virtual environment of its own, and runs its tests and its types there: against an `mmn up`
# with a simulated Internet.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(scripts/pymmn-env.sh)
venv=$(dirname "$python")
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT

(cd python/mmn && "$venv/mypy" --strict --cache-dir="$cache" --python-executable "$python" -p mmn -p tests
    "$venv/mypy" --strict --cache-dir="$cache" --python-executable "$python" docs.py ../../examples/scripts/*.py)
# Its project is named: else it takes the settings of whatever directory the clone lies in.
(cd python/mmn && "$venv/pyright" --project . --pythonpath "$python")
# What the types say of the native half, and what it is.
(cd "$cache" && "$venv/stubtest" mmn._native --allowlist "$OLDPWD/python/mmn/tests/stubtest.txt" --concise)

MMN=${MMN:-${CARGO_TARGET_DIR:-target}/debug/mmn}
[ -x "$MMN" ] || cargo build --locked --workspace --bins
MMN=$(realpath "$MMN")
MMN_NATS_SERVER=${MMN_NATS_SERVER:-$(scripts/nats-server.sh)}
export MMN MMN_NATS_SERVER
cd python/mmn
"$python" -m pytest --no-header -p no:cacheprovider tests
