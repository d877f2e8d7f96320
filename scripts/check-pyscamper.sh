#!/usr/bin/env bash
# Builds the wheel of the Python module scamper, installs it into a virtual environment of its own, and runs its tests and
# its types there.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.cache/check-pyscamper
say() { printf 'check-pyscamper: %s\n' "$*" >&2; }

if ! cmp -s scripts/requirements-pyscamper.txt "$venv/requirements.txt"; then
    say "installing maturin, mypy and pytest"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --no-deps \
        --requirement scripts/requirements-pyscamper.txt
    cp scripts/requirements-pyscamper.txt "$venv/requirements.txt"
fi
venv=$(cd "$venv" && pwd)

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
"$venv/bin/maturin" build --quiet --profile dev --locked --manifest-path python/scamper/Cargo.toml \
    --interpreter "$venv/bin/python" --out "$wheels"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl

(cd python/scamper/python && "$venv/bin/mypy" --strict --cache-dir="$wheels/mypy" scamper)
# What the types say of the native half, and what it is.
(cd "$wheels" && MYPYPATH=. "$venv/bin/stubtest" scamper._native --allowlist "$OLDPWD/python/scamper/tests/stubtest.txt" --concise)
MMN=${MMN:-${CARGO_TARGET_DIR:-target}/debug/mmn}
[ -x "$MMN" ] || cargo build --locked --workspace --bins
MMN=$(realpath "$MMN")
MMN_NATS_SERVER=${MMN_NATS_SERVER:-$(scripts/nats-server.sh)}
export MMN MMN_NATS_SERVER
cd python/scamper
exec "$venv/bin/python" -m pytest --no-header -p no:cacheprovider tests
