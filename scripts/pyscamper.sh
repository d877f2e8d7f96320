#!/usr/bin/env bash
# Builds the wheel of the Python module scamper with a profile of cargo (dev, release), installs it into a virtual
# environment of its own, and prints where that is.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=$1
venv=.cache/check-pyscamper

if ! cmp -s scripts/requirements-pyscamper.txt "$venv/requirements.txt"; then
    printf 'pyscamper: installing maturin, mypy and pytest\n' >&2
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --no-deps \
        --requirement scripts/requirements-pyscamper.txt
    cp scripts/requirements-pyscamper.txt "$venv/requirements.txt"
fi
venv=$(cd "$venv" && pwd)

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
"$venv/bin/maturin" build --quiet --profile "$profile" --locked --manifest-path python/scamper/Cargo.toml \
    --interpreter "$venv/bin/python" --out "$wheels" >&2
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl >&2
printf '%s\n' "$venv"
