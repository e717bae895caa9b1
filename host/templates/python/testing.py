"""Folds events in an ordinary Python, without a host and without Wasm."""

import json
from types import SimpleNamespace

import projectionist


def fold_all(projection, events, config=None):
    """Folds events (dicts with `key`, `value`, `headers`, `timestamp_ms`; without a value: a
    tombstone) as one batch. Gives the documents by id, and the rejected events as (index, reason).
    """
    projectionist.configure(projection, json.dumps(config or {}))
    value = lambda event: json.dumps(event["value"]) if "value" in event else None
    batch = SimpleNamespace(
        topic="test",
        partition=0,
        offsets=list(range(len(events))),
        timestamps_ms=[event.get("timestamp_ms", 0) for event in events],
        keys=column([event.get("key") for event in events]),
        values=column([value(event) for event in events]),
        headers=[
            column([event.get("headers", {}).get(name) for event in events])
            for name in projection.headers
        ],
    )
    nothing = lambda ids: column([None] * len(ids[1]))
    _, ids, bodies, rejects = projectionist.project(projection, batch, nothing)
    documents = projectionist.parse_all(SimpleNamespace(**named(bodies)))
    found = zip(projectionist.texts(SimpleNamespace(**named(ids))), documents)
    return {key: document for key, document in found if document is not None}, rejects


def column(items):
    data = [None if item is None else item.encode() for item in items]
    return SimpleNamespace(**named(projectionist.pack(data)))


def named(parts):
    return dict(zip(("bytes", "ends", "missing"), parts))
