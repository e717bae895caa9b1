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

# Kafka's own version is the one that the services run.
# shellcheck source=scripts/services/kafka.sh
source "$ROOT/scripts/services/kafka.sh"
MONGODB_SINK_VERSION=2.0.1
JARS=$CACHE/connect-$KAFKA_VERSION-$MONGODB_SINK_VERSION

say() { echo "connect: $*" >&2; }

connect_pom() {
    cat <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>projectionist</groupId>
  <artifactId>connect-for-benchmarks</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>connect-runtime</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>connect-json</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.mongodb.kafka</groupId>
      <artifactId>mongo-kafka-connect</artifactId>
      <version>$MONGODB_SINK_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>$LOG4J_VERSION</version>
    </dependency>
  </dependencies>
</project>
POM
}

fetch() {
    "$ROOT/scripts/prerequisites.sh" java maven
    say "fetching Kafka Connect $KAFKA_VERSION and MongoDB's sink $MONGODB_SINK_VERSION" \
        "from Maven Central"
    local part=$JARS.part
    mkdir -p "$(dirname "$LOG")"
    rm -rf "$part"
    mkdir -p "$part"
    connect_pom >"$part/pom.xml"
    if ! mvn -q -B -f "$part/pom.xml" "$MAVEN_COPY" -DincludeScope=runtime \
        -DoutputDirectory="$part" >"$LOG" 2>&1; then
        tail -n 30 "$LOG" | sed 's/^/    /' >&2
        say "error: Maven cannot fetch the jars; name a folder that has them in" \
            "PROJECTIONIST_CONNECT_JARS, or leave kafka-connect out of --contenders"
        return 1
    fi
    mv "$part" "$JARS"
}

if [[ ! -d $JARS ]]; then fetch; fi
echo "$JARS"
