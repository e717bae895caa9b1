#!/usr/bin/env bash
# Fetches Kafka Connect and MongoDB's sink connector for the benchmarks, and prints the folder of
# their jars.
#
#     scripts/connect.sh
#
# Guarantees: a folder that is printed is complete; what is there already is not fetched again.
# Not here: starting it, which the benchmark does itself.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=$ROOT/.services/cache
LOG=$ROOT/.services/logs/connect-maven.log

# shellcheck source=scripts/services/maven.sh
source "$ROOT/scripts/services/maven.sh"
# Kafka's own version is the one that the services run.
# shellcheck source=scripts/services/kafka.sh
source "$ROOT/scripts/services/kafka.sh"
MONGODB_SINK_VERSION=2.0.1
JARS=$CACHE/connect-$KAFKA_VERSION-$MONGODB_SINK_VERSION

say() { echo "connect: $*" >&2; }

fetch() {
    "$ROOT/scripts/prerequisites.sh" java maven
    say "fetching Kafka Connect $KAFKA_VERSION and MongoDB's sink $MONGODB_SINK_VERSION" \
        "from Maven Central"
    if ! maven_fetch "$JARS" "$LOG" \
        "org.apache.kafka:connect-runtime:$KAFKA_VERSION" \
        "org.apache.kafka:connect-json:$KAFKA_VERSION" \
        "org.mongodb.kafka:mongo-kafka-connect:$MONGODB_SINK_VERSION"; then
        tail -n 30 "$LOG" | sed 's/^/    /' >&2
        say "error: Maven cannot fetch the jars; name a folder that has them in" \
            "PROJECTIONIST_CONNECT_JARS, or leave kafka-connect out of --contenders"
        return 1
    fi
}

if [[ ! -d $JARS ]]; then fetch; fi
echo "$JARS"
