#!/usr/bin/env bash
# Runs the tests of the whole workspace on a real Kafka and a real MongoDB.
#
#     scripts/test.sh [ARGUMENTS FOR cargo test]      for instance  --test flights -- --nocapture
#
# The services stay up afterwards, so that the next run is quick; with CI=true they are stopped,
# whatever became of the tests.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# `--package` among the arguments selects instead of the workspace.
packages=(--workspace)
for argument in "$@"; do
    case $argument in
        --) break ;;
        -p* | --package | --package=* | --workspace) packages=() ;;
    esac
done

# Before the services: a mistake in the code shows without them. Tests start the host as a process;
# together with the tests it is built on the same dependencies as they are.
cargo build --release --workspace --bins --tests

# Plugins in other languages than Rust, with the binary that was just built.
scripts/languages.sh build
languages=$(scripts/languages.sh env)
eval "$languages"

if [[ ${CI:-} == true ]]; then trap 'scripts/services.sh stop' EXIT; fi
scripts/services.sh start
endpoints=$(scripts/services.sh env)
eval "$endpoints"
cargo test --release ${packages[@]+"${packages[@]}"} "$@"
