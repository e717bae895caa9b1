#!/usr/bin/env bash
# Compares the gateway with a minimal service written by hand, both on a real MongoDB.
#
#     scripts/bench-gateway.sh [--seconds N] [--rounds N]     `make bench-gateway` builds it first
#
# The services stay up afterwards, as with scripts/test.sh.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/services.sh start
endpoints=$(scripts/services.sh env)
eval "$endpoints"
exec target/release/gateway_bench "$@"
