#!/usr/bin/env bash
# Vantage points and anchors whose clocks are a year wrong, in both directions: tests that want libfaketime.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

MMN_NATS_SERVER=${MMN_NATS_SERVER:-$(scripts/nats-server.sh)}
MMN_FAKETIME=$(scripts/faketime.sh)
export MMN_NATS_SERVER MMN_FAKETIME
# What was built for the tests is run. One network at a time.
exec cargo test --locked --workspace --test chaos -- --test-threads=1 skew::
