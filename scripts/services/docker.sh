# The same two services as containers, by compose.yaml.

COMPOSE_LOG=$LOGS/docker.log

# A client alone is not enough: the engine must answer, and know `compose`.
docker_answers() {
    command -v docker >/dev/null || return 1
    within 10 docker info >/dev/null 2>&1 && within 10 docker compose version >/dev/null 2>&1
}

# within SECONDS COMMAND…; a Mac has no `timeout`, and there the engine has limits of its own.
within() {
    if command -v timeout >/dev/null; then timeout "$@"; else "${@:2}"; fi
}

# The project's name holds a digest of this clone's path: two clones run side by side.
docker_compose() {
    local digest
    digest=$(printf %s "$ROOT" | cksum | cut -d ' ' -f 1)
    docker compose --file "$ROOT/compose.yaml" --project-name "projectionist-$digest" "$@"
}

# Fetches the image of service $1 unless it is there; a machine may have an engine and yet no way
# to the images.
docker_has_image() {
    say "taking $1 from docker"
    within 600 docker compose --file "$ROOT/compose.yaml" pull --quiet --policy missing "$1" \
        >>"$COMPOSE_LOG" 2>&1
}

# docker_spawn SERVICE: the container listens inside on the very port that it has outside, because
# both Kafka and MongoDB tell their clients where to connect next.
docker_spawn() {
    local port
    port=$(probe ports 1)
    remember "$1" docker "127.0.0.1:$port"
    case $1 in
        kafka) export PROJECTIONIST_KAFKA_PORT=$port ;;
        mongodb) export PROJECTIONIST_MONGODB_PORT=$port ;;
    esac
    docker_compose up --detach --force-recreate --renew-anon-volumes "$1" \
        >>"$COMPOSE_LOG" 2>&1 9>&- || fail_with_log \
        "$COMPOSE_LOG" "docker cannot start $1; repair it, or stop it and try again without"
}

docker_runs() {
    [[ -n $(docker_compose ps --quiet --status running "$1" 2>/dev/null) ]]
}

docker_end() {
    docker_compose rm --stop --force --volumes "$1" >>"$COMPOSE_LOG" 2>&1 ||
        warn "docker did not remove $1; see $COMPOSE_LOG"
}
