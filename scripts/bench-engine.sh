#!/usr/bin/env bash
# Builds in release and measures the packets, in network namespaces of its own (it wants root), each figure beside its
# yardstick of the same run. Arguments are the benchmark's: --quick, and names of single lines.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in fping scamper ping; do
    found=$(scripts/peers.sh "$program")
    export "MMN_${program^^}=$found"
done
cargo build --release --locked --package mmn --package mmn-bench
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
exec "$target/release/mmn-bench" engine --mmn "$target/release/mmn" "$@"
