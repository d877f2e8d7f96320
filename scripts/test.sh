#!/usr/bin/env bash
# Every check of the project. They go on after one has failed, as long as there is something to run; the last line
# sums up.
#
# cargo-nextest is used where it is installed, cargo test where it is not. Every step takes --workspace and all targets,
# so that the features of dependencies are the same in each and nothing is built twice.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

scripts/setup.sh --test
MMN_NATS_SERVER=$(scripts/nats-server.sh)
export MMN_NATS_SERVER
# The tests of modules in Python find it where this puts it.
scripts/python-env.sh >/dev/null
# How the suites that a script runs say how many tests they ran: "N passed" and "N failed" in a line.
log=$(mktemp)
trap 'rm -f "$log"' EXIT

passed=0
failed=0
broken=()

# step NAME COMMAND…: runs it. Its tests are counted where it has any, else it counts as one.
step() {
    local name=$1 status=0 good bad
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$log" || status=1
    # The terminal's colours are taken out first. nextest says it once, cargo test once for each binary.
    read -r good bad < <(sed -E 's/\x1b\[[0-9;]*m//g' "$log" | awk '
        /^ *Summary \[|^test result: |^=+ .*(passed|failed).* in / {
            for (i = 1; i < NF; i++) {
                if ($(i + 1) ~ /^passed/) good += $i
                if ($(i + 1) ~ /^(failed|timed)/) bad += $i
            }
        }
        END { print good + 0, bad + 0 }')
    if [ "$((good + bad))" -eq 0 ] || { [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; }; then
        if [ "$status" -eq 0 ]; then good=$((good + 1)); else bad=$((bad + 1)); fi
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    [ "$status" -eq 0 ] || broken+=("$name")
}

finish() {
    printf '\n'
    [ ${#broken[@]} -eq 0 ] || printf 'failed: %s\n' "${broken[*]}"
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ ${#broken[@]} -eq 0 ] || exit 1
    exit 0
}

# Before Rust, which takes it in.
step web scripts/build-web.sh
step format cargo fmt --all -- --check
step lints cargo clippy --locked --workspace --all-targets -- -D warnings
# The tests' build, which leaves the binaries too, for the scripts below.
step build cargo build --locked --workspace --all-targets
# What is left runs what was built.
case " ${broken[*]} " in *" build "*) finish ;; esac
if cargo nextest --version >/dev/null 2>&1; then
    step tests cargo nextest run --locked --workspace --no-fail-fast
else
    step tests cargo test --locked --workspace --all-targets --no-fail-fast
fi
step doctests cargo test --locked --workspace --doc --no-fail-fast
for script in scripts/check-*.sh; do
    [ ! -e "$script" ] || step "$(basename "$script" .sh)" "$script"
done

finish
