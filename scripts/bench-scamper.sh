#!/usr/bin/env bash
# Builds in release and measures what speaks with scamper's world. Arguments are the benchmark's: --quick, and names of
# single lines.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$(scripts/pyscamper.sh release)
cargo build --release --locked --package mmn --package mmn-bench
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
exec "$target/release/mmn-bench" scamper --mmn "$target/release/mmn" --python "$venv/bin/python" "$@"
