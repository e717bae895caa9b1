#!/usr/bin/env python3
"""Asks a real Kafka and a real MongoDB whether they answer, in their own protocols.

Guarantee: exit status 0 means that the service can be used now: Kafka lists a live broker,
MongoDB is a writable primary. Anything else ends, within the given time, with status 1 and
one line that says why.

Only the standard library: the two requests needed here are a few dozen bytes each, and a
driver would have to be downloaded, kept in a virtual environment and pinned before the first
question could be asked.

Not here: starting or ending anything (services.sh), TLS and passwords (services that are given
by the environment are only asked whether their port is open).

    probe.py ports COUNT                       prints free loopback ports
    probe.py kafka HOST:PORT SECONDS [PID]     waits; gives up early when process PID is gone
    probe.py mongodb HOST:PORT SECONDS [PID]   the same
    probe.py initiate HOST:PORT SECONDS [PID]  the same, and makes it a one-node replica set first
    probe.py reachable ADDRESSES               is one of HOST:PORT,… (or of a MongoDB URI) open?
"""

import re
import socket
import struct
import sys
import time

REPLICA_SET = "rs0"
ATTEMPT_SECONDS = 2.0
PAUSE_SECONDS = 0.1
REPLY_BYTES_MAX = 16 * 1024 * 1024

KAFKA_METADATA = 3
KAFKA_METADATA_VERSION = 1
MONGODB_OP_MSG = 2013


class NotReady(Exception):
    """The service does not answer as it must; asking again may help."""


# --- Sockets ---------------------------------------------------------------------------------


def connect(address):
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        sys.exit(f'"{address}" is not HOST:PORT')
    return socket.create_connection((host.strip("[]"), int(port)), timeout=ATTEMPT_SECONDS)


def read_exactly(connection, count):
    data = bytearray()
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise NotReady("it closed the connection")
        data += part
    return bytes(data)


def checked_length(length):
    if not 4 <= length <= REPLY_BYTES_MAX:
        raise NotReady(f"its answer claims {length} bytes, so it speaks another protocol")
    return length


def free_ports(count):
    # All are held at once, so that they differ.
    held = []
    for _ in range(count):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        held.append(listener)
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return ports


# --- Kafka -----------------------------------------------------------------------------------


def kafka_is_ready(address):
    """Metadata for no topic: a broker that is still fenced does not list itself."""
    client = b"probe"
    no_topics = 0
    body = struct.pack(">hhih", KAFKA_METADATA, KAFKA_METADATA_VERSION, 1, len(client))
    body += client + struct.pack(">i", no_topics)
    with connect(address) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        (length,) = struct.unpack(">i", read_exactly(connection, 4))
        reply = read_exactly(connection, checked_length(length))
    if len(reply) < 8:
        raise NotReady("its answer is too short, so it speaks another protocol")
    correlation, brokers = struct.unpack_from(">ii", reply)
    if correlation != 1:
        raise NotReady("it answers another question, so it speaks another protocol")
    if brokers < 1:
        raise NotReady("it lists no live broker yet")


# --- MongoDB ---------------------------------------------------------------------------------


def bson_document(fields):
    body = b""
    for name, value in fields.items():
        key = name.encode() + b"\0"
        if isinstance(value, int):
            body += b"\x10" + key + struct.pack("<i", value)
        elif isinstance(value, str):
            text = value.encode() + b"\0"
            body += b"\x02" + key + struct.pack("<i", len(text)) + text
        elif isinstance(value, list):
            items = {str(index): item for index, item in enumerate(value)}
            body += b"\x04" + key + bson_document(items)
        else:
            body += b"\x03" + key + bson_document(value)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def bson_scalars(data):
    """The top-level numbers, texts and truth values of a document; the rest is stepped over."""
    fixed = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8}
    scalars = {}
    at = 4
    while data[at] != 0:
        kind = data[at]
        end = data.index(0, at + 1)
        name = data[at + 1 : end].decode()
        at = end + 1
        if kind in fixed:
            size = fixed[kind]
        else:
            (size,) = struct.unpack_from("<i", data, at)
            # A text's length counts neither itself nor the subtype that binary data has.
            size += {0x02: 4, 0x05: 5}.get(kind, 0)
        if kind == 0x01:
            (scalars[name],) = struct.unpack_from("<d", data, at)
        elif kind == 0x10:
            (scalars[name],) = struct.unpack_from("<i", data, at)
        elif kind == 0x08:
            scalars[name] = data[at] == 1
        elif kind == 0x02:
            scalars[name] = data[at + 4 : at + size - 1].decode()
        at += size
    return scalars


def mongodb_command(connection, command):
    message = struct.pack("<IB", 0, 0) + bson_document({**command, "$db": "admin"})
    header = struct.pack("<iiii", len(message) + 16, 1, 0, MONGODB_OP_MSG)
    connection.sendall(header + message)
    (length,) = struct.unpack("<i", read_exactly(connection, 4))
    reply = read_exactly(connection, checked_length(length) - 4)
    (opcode,) = struct.unpack_from("<i", reply, 8)
    if opcode != MONGODB_OP_MSG:
        raise NotReady("it does not answer in MongoDB's protocol")
    # 12 bytes of header are left, then 4 of flags and 1 for the kind of section.
    return bson_scalars(reply[17:])


def mongodb_is_ready(address):
    with connect(address) as connection:
        hello = mongodb_command(connection, {"hello": 1})
    if not hello.get("isWritablePrimary"):
        raise NotReady("it is no writable primary yet")
    if "setName" not in hello:
        raise NotReady("it is no member of a replica set, so it has no transactions")


def mongodb_initiate(address):
    with connect(address) as connection:
        if "setName" not in mongodb_command(connection, {"hello": 1}):
            members = [{"_id": 0, "host": address}]
            reply = mongodb_command(
                connection, {"replSetInitiate": {"_id": REPLICA_SET, "members": members}}
            )
            # Another probe may have been first: then the next `hello` knows the set's name.
            if not reply.get("ok") and reply.get("codeName") != "AlreadyInitialized":
                raise NotReady(f"it refuses to become a replica set: {reply.get('errmsg')}")
    mongodb_is_ready(address)


# --- Waiting ---------------------------------------------------------------------------------


def process_is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            state = stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


def wait_until(check, address, seconds, pid):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check(address)
        except (NotReady, OSError, struct.error, IndexError, ValueError) as error:
            reason = error
        if pid is not None and process_is_gone(pid):
            sys.exit(f"process {pid} ended before {address} answered ({reason})")
        if time.monotonic() >= deadline:
            sys.exit(f"no answer from {address} within {seconds:g} s: {reason}")
        time.sleep(PAUSE_SECONDS)


def reachable(addresses):
    # The hosts of mongodb://user:password@host:port,host:port/database?options
    hosts = re.sub(r"^mongodb://|(?<=\w)[/?].*$", "", addresses).rpartition("@")[2]
    default_port = ":27017" if addresses.startswith("mongodb://") else ":9092"
    reasons = []
    for host in hosts.split(","):
        address = host if re.search(r":\d+$", host) else host + default_port
        try:
            connect(address).close()
            return
        except OSError as error:
            reasons.append(f"{address}: {error}")
    sys.exit("; ".join(reasons))


def main(arguments):
    checks = {"kafka": kafka_is_ready, "mongodb": mongodb_is_ready, "initiate": mongodb_initiate}
    match arguments:
        case ["ports", count]:
            print(*free_ports(int(count)))
        case ["reachable", addresses]:
            reachable(addresses)
        case [("kafka" | "mongodb" | "initiate") as what, address, seconds, *pid] if len(pid) < 2:
            wait_until(checks[what], address, float(seconds), *(pid or [None]))
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
