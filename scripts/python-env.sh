#!/bin/sh
# Prints the path of a Python that has what the examples and the tests import: a virtual environment in the project's own
# cache, made anew when the pinned requirements change.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv=$root/.cache/venv
stamp=$venv/requirements.txt

# All that is wanted, one package a line.
requirements() {
    cat "$root/examples/echo-module-python/requirements.txt" "$root/scripts/requirements-test.txt"
}

if ! requirements | cmp -s - "$stamp" || ! [ -x "$venv/bin/python" ]; then
    mkdir -p "$root/.cache"
    # Two runs at once: the second waits, and finds the work done.
    exec 9>"$root/.cache/venv.lock"
    flock 9
    if ! requirements | cmp -s - "$stamp" || ! [ -x "$venv/bin/python" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv" >&2
        requirements >"$venv/wanted.txt"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
            --requirement "$venv/wanted.txt" >&2
        mv "$venv/wanted.txt" "$stamp"
    fi
fi
printf '%s\n' "$venv/bin/python"
