#!/usr/bin/env bash
# Holds the API to its own description: requests are generated from /openapi.json and sent to a whole network that
# runs in a directory of its own. No answer may be a server error, and each must be one that the description tells:
# status, content type, fields and schema.
#
# Everything that was started is ended by its process id; the exit status is schemathesis's.
set -euo pipefail
cd "$(dirname "$0")/.."

SECONDS_TO_RUN=${MMN_OPENAPI_SECONDS:-45}
SEED=20260501
venv=.cache/check-openapi
mmn=${CARGO_TARGET_DIR:-target}/debug/mmn

say() { printf 'check-openapi: %s\n' "$*" >&2; }

if ! cmp -s scripts/requirements-check.txt "$venv/requirements.txt"; then
    say "installing schemathesis"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: \
        --requirement scripts/requirements-check.txt
    cp scripts/requirements-check.txt "$venv/requirements.txt"
fi
[ -x "$mmn" ] || cargo build --locked --workspace --bins
MMN_NATS_SERVER=${MMN_NATS_SERVER:-$(scripts/nats-server.sh)}
export MMN_NATS_SERVER

# What is generated may name any target: it all runs in a network namespace that has loopback alone.
if [ "${1:-}" != --inside ]; then
    unshare=(unshare --net)
    [ "$(id -u)" -eq 0 ] || unshare+=(--map-root-user)
    if ! "${unshare[@]}" true; then
        say "needs a network namespace of its own, and ${unshare[*]} is refused here"
        exit 1
    fi
    exec "${unshare[@]}" "$0" --inside
fi
ip link set lo up

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
url=
for _ in $(seq 100); do
    if ! kill -0 "$up" 2>/dev/null; then
        cat "$dir/log" >&2
        up=
        say "the network did not start"
        exit 1
    fi
    if [ -s "$dir/data/api.json" ]; then
        url=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["url"])' "$dir/data/api.json")
        # No byte is sent to a port that does not answer yet.
        python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + "/readyz", timeout=2)' "$url" \
            2>/dev/null && break
    fi
    url=
    sleep 0.1
done
if [ -z "$url" ]; then
    cat "$dir/log" >&2
    say "the network was not ready in time"
    exit 1
fi

# The token is in a file of its owner alone: not on the command line, where everybody reads it. The stream is a
# WebSocket and events have no end, which is not for a generator of requests.
MMN_TOKEN=$(cat "$dir/data/creds/client.token")
cat >"$dir/schemathesis.toml" <<TOML
seed = $SEED
request-timeout = 10.0
headers = { Authorization = "Bearer $MMN_TOKEN" }
TOML
chmod 600 "$dir/schemathesis.toml"
unset MMN_TOKEN
status=0
HYPOTHESIS_STORAGE_DIRECTORY=$dir/hypothesis timeout --kill-after=10 $((SECONDS_TO_RUN + 60)) \
    "$venv/bin/schemathesis" --config-file "$dir/schemathesis.toml" run "$url/openapi.json" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance,ignored_auth \
    --exclude-path /api/v1/stream --exclude-path /api/v1/events \
    --phases examples,coverage,fuzzing \
    --max-time "$SECONDS_TO_RUN" --max-examples 40 --continue-on-failure --warnings off --suppress-health-check=all || status=$?

if ! kill -0 "$up" 2>/dev/null; then
    cat "$dir/log" >&2
    say "the network ended while it was asked"
    up=
    exit 1
fi
exit "$status"
