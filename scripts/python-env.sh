#!/bin/sh
# Prints the path of a Python that has what the examples and their tests import: a virtual environment in the
# project's own cache, made anew when the pinned requirements change.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
requirements=$root/examples/echo-module-python/requirements.txt
venv=$root/.cache/venv
stamp=$venv/requirements.txt

if ! cmp -s "$requirements" "$stamp" || ! [ -x "$venv/bin/python" ]; then
    mkdir -p "$root/.cache"
    # Two runs at once: the second waits, and finds the work done.
    exec 9>"$root/.cache/venv.lock"
    flock 9
    if ! cmp -s "$requirements" "$stamp" || ! [ -x "$venv/bin/python" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv" >&2
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
            --requirement "$requirements" >&2
        cp "$requirements" "$stamp"
    fi
fi
printf '%s\n' "$venv/bin/python"
