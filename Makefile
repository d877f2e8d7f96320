# One front door. Each target is a script of scripts/ or one line of cargo.
.DEFAULT_GOAL := help
.PHONY: help setup web build run test bench bench-spine bench-engine bench-lab bench-scamper bench-python bench-web wheel contract check fmt

export CARGO_TERM_COLOR ?= auto
# Where rustup puts a toolchain, for a shell that was started before.
export PATH := $(PATH):$(HOME)/.cargo/bin
target := $(or $(CARGO_TARGET_DIR),target)

help: ## Say what there is to make.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: ## Install what is missing: Debian packages (as root, else it says the command) and nats-server.
	@scripts/setup.sh

web: setup ## Build the dashboard into web/dist, which the next build of mmn takes in.
	@scripts/build-web.sh

build: web ## Build mmn in release, with the dashboard.
	cargo build --release --locked --package mmn

run: build ## Build and start a whole network on this machine: mmn up.
	@exec env MMN_NATS_SERVER="$$(scripts/nats-server.sh)" $(target)/release/mmn up

test: ## Run every check: format, lints, tests, contract, house rules, scripts/check-*.sh.
	@scripts/test.sh

bench: setup ## Measure what the benchmark promises, each figure beside its yardstick.
	@exec env MMN_NATS_SERVER="$$(scripts/nats-server.sh)" scripts/bench.sh

bench-spine: setup ## Measure the spine under fault and under load, in about twelve minutes.
	@exec env MMN_NATS_SERVER="$$(scripts/nats-server.sh)" scripts/bench-spine.sh $(LINES)

bench-engine: setup ## Measure the packets, in network namespaces (as root), in about ten minutes.
	@exec env MMN_NATS_SERVER="$$(scripts/nats-server.sh)" scripts/bench-engine.sh $(LINES)

bench-lab: setup ## Measure the simulated Internet, in about four minutes.
	@exec env MMN_NATS_SERVER="$$(scripts/nats-server.sh)" scripts/bench-lab.sh $(LINES)

bench-scamper: setup ## Measure what speaks with scamper's world, in about a minute.
	@exec env MMN_NATS_SERVER="$$(scripts/nats-server.sh)" scripts/bench-scamper.sh $(LINES)

bench-web: setup ## Measure the dashboard in Chromium, in about four minutes.
	@exec env MMN_NATS_SERVER="$$(scripts/nats-server.sh)" scripts/bench-web.sh $(LINES)

bench-python: setup ## Measure the Python module, in a network namespace (as root), in about five minutes.
	@exec env MMN_NATS_SERVER="$$(scripts/nats-server.sh)" scripts/bench-python.sh $(LINES)

wheel: web ## Build the wheel for Python, with the command mmn in it, into dist/ (wants maturin).
	@scripts/build-wheel.sh

contract: ## Write contract/ and docs/reference/messages.md anew.
	cargo run --locked --package xtask -- contract

check: ## The quick checks alone: lints and house rules.
	cargo clippy --locked --workspace --all-targets -- -D warnings && cargo run --locked --package xtask -- check

fmt: ## Format all Rust code.
	cargo fmt --all
