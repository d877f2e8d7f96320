#!/usr/bin/env bash
# Prints a Python, in a virtual environment of the project's own, that has the Python module mmn as it is now, and what its tests
# need. With --release it has the wheel, built in release, in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=dev
[ "${1:-}" != --release ] || profile=release
venv=.cache/pymmn-$profile
say() { printf 'pymmn-env: %s\n' "$*" >&2; }

mkdir -p .cache
# Two at once: the second waits.
exec 9>"$venv.lock"
flock 9
if ! cmp -s scripts/requirements-pymmn.txt "$venv/requirements.txt"; then
    say "installing maturin, mypy, pyright, pytest, pandas, polars and pyarrow"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --no-deps \
        --requirement scripts/requirements-pymmn.txt
    cp scripts/requirements-pymmn.txt "$venv/requirements.txt"
fi
venv=$(cd "$venv" && pwd)

if [ "$profile" = release ]; then
    wheels=$(mktemp -d)
    trap 'rm -rf "$wheels"' EXIT
    "$venv/bin/maturin" build --quiet --profile release --locked --manifest-path python/mmn/Cargo.toml \
        --interpreter "$venv/bin/python" --out "$wheels" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl
else
    # The native half that the workspace's build has made: maturin, which builds one package with its own features, would make
    # every dependency again. The wheel itself is for check-wheel.sh.
    cargo build --quiet --locked --workspace >&2
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    rm -rf "$site/mmn" "$site"/mmn-*.dist-info
    cp -r python/mmn/python/mmn "$site/mmn"
    cp "${CARGO_TARGET_DIR:-target}/debug/libmmn_python.so" "$site/mmn/_native.abi3.so"
fi
printf '%s\n' "$venv/bin/python"
