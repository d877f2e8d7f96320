#!/usr/bin/env bash
# Installs what the build, and with --test the checks, need and this machine lacks. As root it installs Debian
# packages through apt; otherwise it prints the one command and ends with 1. It never calls sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

missing=()
need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
need cc gcc
need ld binutils
need git git
need python3 python3
need ip iproute2
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
# The headers of the C library come apart from the compiler where recommended packages are left out.
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
# Where Node is too old or absent, a newer one comes through pip.
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)
if [ "${1:-}" = --test ]; then
    # What the labs are looked at with.
    need ping iputils-ping
    need traceroute traceroute
    need mtr mtr-tiny
    need fping fping
    # What the dashboard's pages are tried in.
    need chromium chromium
    need unshare util-linux
fi

if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        say "please install: ${missing[*]}"
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        say "packages are missing. Install them, then come back:"
        say "    sudo apt-get install --yes ${missing[*]}"
        exit 1
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    install=(apt-get install --yes --quiet --no-install-recommends "${missing[@]}")
    # The lists of a fresh machine may be empty: they are refreshed only when the first try fails.
    "${install[@]}" </dev/null >&2 || { apt-get update --quiet </dev/null >&2 && "${install[@]}" </dev/null >&2; }
fi

if ! command -v cargo >/dev/null 2>&1; then
    say "there is no Rust toolchain. Debian 12's is too old; get one from https://rustup.rs:"
    say "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    exit 1
fi
if [ "${1:-}" = --test ]; then
    for component in fmt:rustfmt clippy:clippy; do
        cargo "${component%:*}" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null 2>&1 || { say "cargo ${component%:*} is missing: install ${component#*:}"; exit 1; }
        rustup component add "${component#*:}" >&2
    done
fi

scripts/nats-server.sh >/dev/null
scripts/node-env.sh >/dev/null
# For check-alerts.sh alone, which says what is wrong where it can't be had.
if [ "${1:-}" = --test ]; then
    scripts/prometheus.sh >/dev/null || say "without promtool and prometheus, scripts/check-alerts.sh will fail"
fi
