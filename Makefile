# The door to everything. `make` alone lists what there is.
#
# There is one build profile, release, and always the whole workspace: with `--package` Cargo would
# choose other features for some dependencies, and build wasmtime and the MongoDB driver once more.

SHELL := bash
.DEFAULT_GOAL := help

# Extra arguments, as in: make test ARGS='--test flights -- --nocapture'
ARGS ?=

# The scripts and the tests look for the modules and the binary there.
export CARGO_TARGET_DIR := $(CURDIR)/target

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build guests ## Project 27,004 real departures, without Kafka or MongoDB, and verify the result
	target/release/projectionist demo $(ARGS)

.PHONY: test
test: prerequisites guests ## Run all tests on a real Kafka and MongoDB (ARGS go to cargo test)
	scripts/test.sh $(ARGS)

.PHONY: ledger
ledger: build guests ## Break hosts, Kafka and MongoDB while events flow, and verify (ARGS='--seeds 1..20')
	scripts/ledger.sh $(ARGS)

.PHONY: hostile
hostile: ## Throw hostile records at whole hosts, and verify (ARGS=1..100, the seeds)
	PROJECTIONIST_HOSTILE_SEEDS=$(or $(ARGS),1..20) $(MAKE) test ARGS='--test hostile -- --nocapture'

.PHONY: lint
lint: prerequisites ## Check format and lints, warnings are errors
	@scripts/prerequisites.sh rust-lints
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets $(ARGS) -- -D warnings

.PHONY: fmt
fmt: ## Format the code
	@scripts/prerequisites.sh rust rust-lints
	cargo fmt --all

.PHONY: build
build: prerequisites ## Build the host, target/release/projectionist
	cargo build --release --workspace --bins

.PHONY: guests
guests: prerequisites ## Build the Wasm plugins, target/wasm32-unknown-unknown/release/*.wasm
	scripts/guests.sh

.PHONY: bench
bench: build guests ## Measure beside a native loop, Kafka Connect and a hand-written service (ARGS='--help')
	scripts/bench.sh $(ARGS)

.PHONY: bench-micro
bench-micro: prerequisites guests ## Run the micro-benchmarks (ARGS go to cargo bench)
	cargo bench --workspace --bench '*' $(ARGS)

.PHONY: bench-gateway
bench-gateway: build ## Compare the gateway with a minimal service (ARGS='--seconds 5 --rounds 4')
	scripts/bench-gateway.sh $(ARGS)

.PHONY: services
services: ## Start a real Kafka and MongoDB for tests, and print their endpoints
	@scripts/services.sh start
	@scripts/services.sh env

.PHONY: services-stop
services-stop: ## Stop them; their data goes
	@scripts/services.sh stop

.PHONY: clean-services
clean-services: services-stop ## Stop them and remove .services, downloads and logs included
	rm -rf .services

.PHONY: prerequisites
prerequisites:
	@scripts/prerequisites.sh rust c openssl
