// Folds events in an ordinary Node, without a host and without Wasm.

import { configure, project } from "./projectionist.js";

/**
 * Folds events ({ key, value, headers, timestampMs }; without a value: a tombstone) as one batch.
 * Gives the documents by id, and the rejected events.
 */
export function foldAll(projection, events, config = {}) {
  configure(projection, JSON.stringify(config));
  const text = ({ value }) => (value === undefined ? undefined : JSON.stringify(value));
  const batch = {
    topic: "test",
    partition: 0,
    offsets: BigUint64Array.from(events, (_, index) => BigInt(index)),
    timestampsMs: BigInt64Array.from(events, (event) => BigInt(event.timestampMs ?? 0)),
    keys: column(events.map((event) => event.key)),
    values: column(events.map(text)),
    headers: projection.headers.map((name) => column(events.map((e) => e.headers?.[name]))),
  };
  const nothing = (ids) => column(Array.from(ids.ends, () => undefined));
  const { writes, rejects } = project(projection, batch, nothing);

  const documents = {};
  const ids = items(writes.ids);
  for (const [index, body] of items(writes.documents).entries()) {
    if (body !== undefined) {
      documents[ids[index]] = JSON.parse(body);
    }
  }
  return { documents, rejected: rejects };
}

function column(texts) {
  const parts = texts.map((text) => Buffer.from(text ?? ""));
  let end = 0;
  return {
    bytes: new Uint8Array(Buffer.concat(parts)),
    ends: Uint32Array.from(parts, (part) => (end += part.length)),
    missing: Uint32Array.from([...texts.keys()].filter((index) => texts[index] === undefined)),
  };
}

function items({ bytes, ends, missing }) {
  const item = (end, index) =>
    missing.includes(index)
      ? undefined
      : Buffer.from(bytes.subarray(ends[index - 1] ?? 0, end)).toString();
  return Array.from(ends, item);
}
