#!/usr/bin/env bash
# Builds the wheel of the Python module scamper, installs it into a virtual environment of its own, and runs its tests and
# its types there.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(scripts/pyscamper.sh dev)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(cd python/scamper && "$venv/bin/mypy" --strict --cache-dir="$work/mypy" --python-executable "$venv/bin/python" bench.py)
(cd python/scamper/python && "$venv/bin/mypy" --strict --cache-dir="$work/mypy" scamper)
# What the types say of the native half, and what it is.
(cd "$work" && MYPYPATH=. "$venv/bin/stubtest" scamper._native --allowlist "$OLDPWD/python/scamper/tests/stubtest.txt" --concise)
MMN=${MMN:-${CARGO_TARGET_DIR:-target}/debug/mmn}
[ -x "$MMN" ] || cargo build --locked --workspace --bins
MMN=$(realpath "$MMN")
MMN_NATS_SERVER=${MMN_NATS_SERVER:-$(scripts/nats-server.sh)}
export MMN MMN_NATS_SERVER
cd python/scamper
"$venv/bin/python" -m pytest --no-header -p no:cacheprovider tests
