#!/usr/bin/env bash
# Runs the ledger on a Kafka and a MongoDB of its own. `make ledger` builds what it needs.
#
#     scripts/ledger.sh [--seeds 1..20 | --seed 7] [--keep] [--json FILE] …      --help tells all

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

programs=$(scripts/services.sh programs)
eval "$programs"
exec target/release/ledger "$@"
