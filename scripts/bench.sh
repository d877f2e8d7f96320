#!/usr/bin/env bash
# Builds in release and measures what the benchmark promises, each figure beside its yardstick of the same run.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked --package mmn --package mmn-bench
exec "${CARGO_TARGET_DIR:-target}/release/mmn-bench" "${CARGO_TARGET_DIR:-target}/release/mmn"
