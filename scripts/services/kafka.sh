# A one-node Kafka (KRaft) from Apache's own jars on the machine's Java.

KAFKA_VERSION=4.3.0
KAFKA_JARS=$CACHE/kafka-$KAFKA_VERSION

kafka_fetch() {
    "$ROOT/scripts/prerequisites.sh" java
    [[ ! -d $KAFKA_JARS ]] || return 0
    "$ROOT/scripts/prerequisites.sh" maven
    say "fetching Kafka $KAFKA_VERSION from Maven Central"
    maven_fetch "$KAFKA_JARS" "$LOGS/maven.log" "org.apache.kafka:kafka_2.13:$KAFKA_VERSION" ||
        fail_with_log "$LOGS/maven.log" "Maven cannot fetch Kafka's jars; $(way_out kafka)"
}

# kafka_properties PORT CONTROLLER_PORT DATA. Keep the choices in step with compose.yaml.
kafka_properties() {
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$2
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://127.0.0.1:$1
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$3

# One node holds every replica there is.
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4

# Tests create their topics, and a name that is mistyped must not come into being.
auto.create.topics.enable=false
# Tests kill hosts: the group must be able to notice it sooner than after the usual 6 s.
group.min.session.timeout.ms=1000
group.initial.rebalance.delay.ms=0
# The cleaner's default buffer would be a quarter of this broker's heap.
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
}

# All goes to standard output, so that one file holds the server's log and the JVM's last words.
kafka_log4j() {
    cat <<'PROPERTIES'
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %-5p %m (%c)%n
# Hundreds of lines that repeat the configuration, several times.
logger.config.name=org.apache.kafka.common.config.AbstractConfig
logger.config.level=WARN
PROPERTIES
}

# Starts the broker with an empty log; sets nothing but files under $STATE/kafka.
kafka_spawn() {
    local home=$STATE/kafka port controller_port
    read -r port controller_port < <(probe ports 2)
    rm -rf "$home/data"
    mkdir -p "$home/data"
    kafka_properties "$port" "$controller_port" "$home/data" >"$home/server.properties"
    kafka_log4j >"$home/log4j2.properties"
    local -a java=(java "-Dlog4j2.configurationFile=$home/log4j2.properties" -cp "$KAFKA_JARS/*")
    "${java[@]}" -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format \
        -t "$(kafka_cluster_id)" -c "$home/server.properties" >"$LOGS/kafka-format.log" 2>&1 ||
        fail_with_log "$LOGS/kafka-format.log" "Kafka cannot format $home/data; $(way_out kafka)"
    remember kafka process "127.0.0.1:$port"
    process_spawn "$home/pid" "$LOGS/kafka.log" \
        "${java[@]}" -Xmx512m -XX:+ExitOnOutOfMemoryError kafka.Kafka "$home/server.properties"
}

# A KRaft cluster's id is 16 bytes in URL-safe base64 without padding.
kafka_cluster_id() {
    head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '='
}
