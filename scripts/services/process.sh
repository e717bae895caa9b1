# Processes that outlive the script that started them, and are ended by id.
#
# Guarantee: only a process that was started here is ever signalled. A pid file holds the id
# together with the boot and the tick at which the process began, so an id that the kernel has
# given to somebody else in the meantime is recognised as stale.
# Linux only (/proc, setsid): where there is no Linux, Docker runs the services.

STOP_SECONDS=20
KILL_SECONDS=5

# Prints what makes process $1 that process and no later one; fails when it is gone or a zombie.
process_identity() {
    local stat boot
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    boot=$(</proc/sys/kernel/random/boot_id)
    # The command's name may hold anything, so count the fields from behind its last bracket.
    local -a fields
    read -ra fields <<<"${stat##*)}"
    [[ ${fields[0]} != [ZX] ]] || return 1
    echo "$boot:${fields[19]}"
}

# process_spawn PIDFILE LOG COMMAND…: starts the command in a session of its own, so that neither
# Ctrl-C nor the end of this terminal reaches it. The previous log is kept beside the new one.
process_spawn() {
    local pidfile=$1 log=$2 pid
    shift 2
    if [[ -s $log ]]; then mv "$log" "$log.previous"; fi
    # 9 is the lock of services.sh: a child that kept it open would hold it for ever.
    setsid "$@" </dev/null >"$log" 2>&1 9>&- &
    pid=$!
    echo "$pid $(process_identity "$pid" || true)" >"$pidfile"
}

# Prints the id of the process behind PIDFILE; fails when it is not running any more.
process_id() {
    local pid identity
    read -r pid identity 2>/dev/null <"$1" || return 1
    [[ -n $identity && $(process_identity "$pid") == "$identity" ]] || return 1
    echo "$pid"
}

# Waits until the process behind PIDFILE is gone, at most $2 seconds.
process_gone_within() {
    local deadline=$((SECONDS + $2))
    while process_id "$1" >/dev/null; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# process_end PIDFILE: asks first, then kills; also removes a stale pid file.
process_end() {
    local pid
    if pid=$(process_id "$1"); then
        kill -TERM "$pid" 2>/dev/null || true
        if ! process_gone_within "$1" "$STOP_SECONDS"; then
            warn "process $pid ignored SIGTERM for $STOP_SECONDS s: killing it"
            kill -KILL "$pid" 2>/dev/null || true
            process_gone_within "$1" "$KILL_SECONDS" || fail "process $pid survived SIGKILL"
        fi
    fi
    rm -f "$1"
}
