#!/usr/bin/env bash
# Runs the end-to-end benchmark. `make bench` builds what it needs.
#
#     scripts/bench.sh [--workloads hot,zipf] [--rounds 5] [--rate 1000] …      --help tells all
#
# Kafka and MongoDB are those of scripts/services.sh, unless --kafka or --mongodb names others, and
# stay up afterwards.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

needs_kafka=1 needs_mongodb=1 needs_connect=1 contenders=
for ((i = 1; i <= $#; i++)); do
    next=$((i + 1))
    case ${!i} in
        -h | --help | -V | --version) exec target/release/bench "$@" ;;
        --kafka | --kafka=*) needs_kafka= ;;
        --mongodb | --mongodb=*) needs_mongodb= ;;
        --connect-jars | --connect-jars=*) needs_connect= ;;
        --contenders) contenders=${!next:-} ;;
        --contenders=*) contenders=${!i#*=} ;;
    esac
done

if [[ -n $needs_kafka || -n $needs_mongodb ]]; then
    scripts/services.sh start
    endpoints=$(scripts/services.sh env)
    eval "$endpoints"
fi
if [[ -n $contenders && $contenders != *kafka-connect* ]]; then needs_connect=; fi
if [[ -n $needs_connect && -z ${PROJECTIONIST_CONNECT_JARS:-} ]]; then
    PROJECTIONIST_CONNECT_JARS=$(scripts/connect.sh)
    export PROJECTIONIST_CONNECT_JARS
fi
exec target/release/bench "$@"
