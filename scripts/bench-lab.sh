#!/usr/bin/env bash
# Builds in release and measures the lab. It wants root, or a user who may make user namespaces, and two processors.
# Arguments are the benchmark's: --quick, and names of single lines.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked --package mmn --package mmn-bench
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
exec "$target/release/mmn-bench" lab --mmn "$target/release/mmn" "$@"
