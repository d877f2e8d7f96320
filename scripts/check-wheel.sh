#!/usr/bin/env bash
# Builds the wheel of mmn (of the development profile, with the command that is there), installs it into a fresh virtual
# environment as a user would, and measures with nothing but that.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=.cache/check-wheel
MATURIN_VERSION=1.16.0
say() { printf 'check-wheel: %s\n' "$*" >&2; }

if ! "$tools/bin/maturin" --version 2>/dev/null | grep -q "$MATURIN_VERSION"; then
    say "installing maturin"
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --no-deps "maturin==$MATURIN_VERSION"
fi
work=$(mktemp -d)
up=
finish() {
    [ -z "$up" ] || { kill "$up" && wait "$up" || true; }
    rm -rf "$work"
}
trap finish EXIT

MMN=${MMN:-${CARGO_TARGET_DIR:-target}/debug/mmn}
[ -x "$MMN" ] || cargo build --locked --workspace --bins
MMN=$MMN MMN_WHEEL_PROFILE=dev MATURIN=$tools/bin/maturin scripts/build-wheel.sh "$work"

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "$work"/mmn-*.whl
# Nothing of this tree is found from here, and no other nats-server.
cp examples/modules/banner.py "$work"
cd "$work"
export MMN_DATA=$work/data PATH=/usr/bin:/bin
unset MMN_NATS_SERVER PYTHONPATH VIRTUAL_ENV CARGO_TARGET_DIR
mkdir "$MMN_DATA"
venv/bin/mmn --version
venv/bin/python -c 'import mmn, mmn.module'
port=$(venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/mmn up --listen "127.0.0.1:$port" >up.out 2>&1 &
up=$!
venv/bin/python - <<'PYTHON'
import subprocess, time

import mmn

end = time.monotonic() + 60


def soon(look):
    while True:
        try:
            if found := look():
                return found
        except mmn.Error:
            pass
        assert time.monotonic() < end, open("up.out").read()
        time.sleep(0.1)


net = soon(mmn.connect)
vp = soon(lambda: next((vp for vp in net.vps() if "ping" in vp.kinds), None))
print(vp.ping("127.0.0.1", count=1))
# The command finds the Python that it was installed beside.
subprocess.run(["venv/bin/mmn", "module", "add", "banner.py"], check=True)
soon(lambda: any("banner" in vp.kinds for vp in net.vps()))
[result] = net.measure("banner", "127.0.0.1", vps="all", port=int(net.url.rsplit(":", 1)[1]), wait=0.2).results(timeout=20)
assert result.ok and result.answered, result
print(result)
PYTHON
say "1 passed"
