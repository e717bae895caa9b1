#!/usr/bin/env bash
# Runs the tests of the whole workspace on a real Kafka and a real MongoDB.
#
#     scripts/test.sh [ARGUMENTS FOR cargo test]      e.g.  -p projectionist-tests kill -- --nocapture
#
# The services stay up afterwards, so that the next run is quick; with CI=true they are stopped,
# whatever became of the tests.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(--workspace)
for argument in "$@"; do
    case $argument in
        --) break ;;
        -p* | --package | --package=* | --workspace) packages=() ;;
    esac
done

# Before the services: a mistake in the code shows without them. Tests start the host as a process.
cargo build --release --package projectionist --bins

if [[ ${CI:-} == true ]]; then trap 'scripts/services.sh stop' EXIT; fi
scripts/services.sh start
endpoints=$(scripts/services.sh env)
eval "$endpoints"
cargo test --release ${packages[@]+"${packages[@]}"} "$@"
