#!/usr/bin/env bash
# Builds in release, the wheel of the Python module mmn too, and measures that. Arguments are the benchmark's: --quick, and
# names of single lines.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked --package mmn --package mmn-bench
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
MMN_BENCH_PYTHON=$(scripts/pymmn-env.sh --release)
export MMN_BENCH_PYTHON
exec "$target/release/mmn-bench" python --mmn "$target/release/mmn" "$@"
