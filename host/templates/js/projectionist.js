// From a batch's columns to the function `fold` of a projection, and back to columns.
//
// All that crosses into a plugin costs, so keys, values and documents come as one byte list each,
// and are decoded, and documents encoded, a whole column at a time.
//
// A number of JSON is a `Number` where that holds it exactly, and else a `BigInt` where it is whole;
// an event with any other is rejected. A `BigInt` in a document is written with all its digits.
//
// Guarantees:
// - The documents are those of folding one event after the other.
// - An event whose fold throws is rejected with the error's text and leaves its document as it was,
//   whatever the fold had done to it; the later events of its key are left to the host.

// A bundler may make a second copy of this file, so what crosses between the copies is told by
// names that all of them share.

/** What `fold` returns where an event leaves its document as it is. */
export const IGNORE = Symbol.for("projectionist.IGNORE");

/** What `fold` returns where no document shall exist any more. */
export const DELETE = Symbol.for("projectionist.DELETE");

const REJECT = Symbol.for("projectionist.Reject");

/** Thrown by `fold` for an event that cannot be folded, now or ever. */
export class Reject extends Error {
  get name() {
    return "Reject";
  }
  get [REJECT]() {
    return true;
  }
}

const LEVELS = ["trace", "debug", "info", "warn", "error"];
const SINK = Symbol.for("projectionist.log");

/**
 * `log.info("…")` and so on write a line to the plugin's log, in a test to the console. A host
 * cuts long lines, and counts those above 100 a second instead of keeping them.
 */
export const log = Object.fromEntries(
  LEVELS.map((level) => [level, (message) => globalThis[SINK](level, String(message))]),
);

globalThis[SINK] ??= (level, message) => console[level](message);

/** Sends lines of the log, and what the plugin prints with `console`, to `sink(level, message)`. */
export function logTo(sink) {
  globalThis[SINK] = sink;
  const print = (level) => (...parts) => {
    for (const line of parts.map(printed).join(" ").split("\n")) {
      sink(level, line);
    }
  };
  for (const level of LEVELS) {
    console[level] = print(level);
  }
  console.log = console.info;
}

/** As `console` shows a value, or nearly. */
function printed(value) {
  if (value instanceof Error) {
    return value.stack ? `${value}\n${value.stack}` : String(value);
  }
  if (typeof value !== "object" || value === null) {
    return String(value);
  }
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

/** One event, as `fold` sees it. */
class Event {
  // Without declared fields, which cost half a microsecond an event.
  constructor(batch, index, key, value) {
    /** The key as text. */
    this.key = key;
    /** The value, parsed from JSON; `null` for a tombstone. */
    this.value = value;
    /** Tells a tombstone from a value that is `null` in JSON. */
    this.isTombstone = value === null && batch.values.missing.includes(index);
    this._batch = batch;
    this._index = index;
  }

  get topic() {
    return this._batch.topic;
  }
  get partition() {
    return this._batch.partition;
  }
  get offset() {
    return Number(this._batch.offsets[this._index]);
  }
  get timestampMs() {
    return Number(this._batch.timestampsMs[this._index]);
  }
  /** A header that `headers` of the projection names, as text; `undefined` where there is none. */
  header(name) {
    const column = this._batch.headers[this._batch.headerNames.indexOf(name)];
    return column && itemText(column, this._index);
  }
}

/**
 * Completes a projection:
 *
 * - `name`, `version`, `view` and `fold(document, event)`, which gives the document that is to be
 *   stored, `DELETE` or `IGNORE`; `document` is `null` where none exists, and may be changed;
 * - where they are needed `description`, `headers` (names), `configSchema` (a JSON Schema, as an
 *   object) and `configure(config)`.
 */
export function define(projection) {
  return { description: "", headers: [], configSchema: undefined, ...projection };
}

export function describe({ name, version, description, view, headers, configSchema }) {
  return {
    name,
    version,
    description,
    encoding: "json",
    views: [{ name: view, ownership: "by-key" }],
    headers,
    configSchema: configSchema === undefined ? "" : JSON.stringify(configSchema),
  };
}

/** Throws what is wrong with the configuration. */
export function configure(projection, text) {
  const config = text.trim() === "" ? {} : JSON.parse(text);
  if (projection.configure) {
    projection.configure(config);
  } else if (Object.keys(config).length > 0) {
    throw new Error(`${projection.name} takes no configuration`);
  }
}

/** Folds a batch. `getMany` asks for stored documents: a column of ids to a column of JSON. */
export function project(projection, batch, getMany) {
  batch.headerNames = projection.headers;
  const keys = texts(batch.keys);
  const values = texts(batch.values);
  const parsed = parseAll(values);
  const isClean = parsed.isWhole;
  const rejects = [];
  const slots = new Map();
  const slotOf = new Array(keys.length);
  const unreadable = new Set();
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index];
    if (typeof key !== "string") {
      // Without a key an event belongs to no document.
      const found = key ?? parsed[index];
      if (found instanceof Unusable && !(key && unreadable.has(key.bytes))) {
        unreadable.add(key?.bytes);
        rejects.push({ event: index, reason: `the ${key ? "key" : "value"} ${found.reason}` });
      }
      continue;
    }
    let slot = slots.get(key);
    if (slot === undefined) {
      slot = slots.size;
      slots.set(key, slot);
    }
    slotOf[index] = slot;
  }

  const ids = [...slots.keys()];
  const stored = ids.length > 0 ? texts(getMany(pack(ids))) : [];
  const documents = parseAll(stored);
  const shapedBy = new Array(ids.length).fill(-1);
  const failed = new Array(ids.length).fill(false);
  for (let index = 0; index < keys.length; index++) {
    const slot = slotOf[index];
    if (slot === undefined || failed[slot]) {
      continue;
    }
    try {
      const value = isClean ? parsed[index] : usable(parsed[index]);
      const event = new Event(batch, index, ids[slot], value);
      const document = documents[slot];
      const folded = projection.fold(document, event);
      if (folded !== IGNORE) {
        if (folded !== document || folded === null) {
          documents[slot] = checked(folded);
        }
        shapedBy[slot] = index;
      }
    } catch {
      failed[slot] = true;
    }
  }

  // One write for each document that was folded, except where none existed and none shall.
  const events = [];
  const written = [];
  const bodies = [];
  for (let slot = 0; slot < ids.length; slot++) {
    let event = shapedBy[slot];
    let body;
    if (event >= 0 && documents[slot] !== null && !failed[slot]) {
      try {
        body = stringify(documents[slot]);
      } catch {
        failed[slot] = true;
      }
    }
    if (failed[slot]) {
      const single = foldSingly(projection, batch, values, slotOf, slot, ids[slot], stored[slot]);
      ({ event, body } = single);
      rejects.push(single.reject);
    }
    if (event >= 0 && (body !== undefined || stored[slot] !== undefined)) {
      events.push(event);
      written.push(ids[slot]);
      bodies.push(body);
    }
  }
  rejects.sort((one, other) => one.event - other.event);
  return {
    writes: {
      events: Uint32Array.from(events),
      views: new Uint32Array(events.length),
      ids: pack(written),
      documents: pack(bodies),
    },
    messages: [],
    rejects,
  };
}

/**
 * Folds the events of one key until one is rejected, or makes what cannot be stored. Gives the
 * event before it that last shaped the document, what that made of it, and the reject.
 */
function foldSingly(projection, batch, values, slotOf, slot, key, stored) {
  let event = -1;
  let body = stored;
  for (let index = 0; index < values.length; index++) {
    if (slotOf[index] !== slot) {
      continue;
    }
    try {
      const value = usable(parsedOne(values[index]));
      // From the text each time: an earlier fold may hold on to parts of it.
      const folded = projection.fold(parsedOne(body), new Event(batch, index, key, value));
      if (folded !== IGNORE) {
        const document = checked(folded);
        body = document === null ? undefined : stringify(document);
        event = index;
      }
    } catch (error) {
      return { event, body, reject: { event: index, reason: reasonOf(error) } };
    }
  }
  throw new Error(`the events of "${key}" fold one way together and another way one by one`);
}

function usable(value) {
  if (value instanceof Unusable) {
    throw new Reject(`the value ${value.reason}`);
  }
  return value;
}

/** What a fold returned, with `null` for no document. */
function checked(folded) {
  if (folded === DELETE) {
    return null;
  }
  if (!isPlain(folded)) {
    throw new TypeError(
      `fold returned ${kindOf(folded)}; it returns the document, a plain object, or DELETE or IGNORE`,
    );
  }
  return folded;
}

/** Of others, such as a Map or a Promise, JSON keeps nothing or something else. */
function isPlain(value) {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function kindOf(value) {
  if (typeof value?.then === "function") {
    return "a Promise (fold cannot be async)";
  }
  if (typeof value !== "object" || value === null) {
    return value === null ? "null" : typeof value;
  }
  return Array.isArray(value) ? "an array" : `an instance of ${value.constructor?.name ?? "a class"}`;
}

function reasonOf(error) {
  return error?.[REJECT] ? error.message : String(error);
}

// Columns.

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Stands for an item that cannot be read; `bytes`, as text, tells one from another. */
class Unusable {
  constructor(reason, bytes) {
    this.reason = reason;
    this.bytes = bytes;
  }
}

/** Each item of a column as text; `undefined` where it is missing. */
function texts(column) {
  const { bytes, ends, missing } = column;
  const items = new Array(ends.length);
  const text = asciiText(bytes);
  let start = 0;
  for (let index = 0; index < ends.length; index++) {
    const end = ends[index];
    items[index] = text === undefined ? decoded(bytes, start, end) : text.slice(start, end);
    start = end;
  }
  for (const index of missing) {
    items[index] = undefined;
  }
  return items;
}

/** All bytes at once, where each of them is a character. */
function asciiText(bytes) {
  const text = decoded(bytes, 0, bytes.length);
  return text.length === bytes.length ? text : undefined;
}

function decoded(bytes, start, end) {
  const part = bytes.subarray(start, end);
  try {
    return decoder.decode(part);
  } catch {
    return new Unusable("is not UTF-8", part.join());
  }
}

function itemText({ bytes, ends, missing }, index) {
  const start = index === 0 ? 0 : ends[index - 1];
  return missing.includes(index) ? undefined : decoded(bytes, start, ends[index]);
}

/** A column of texts; `undefined` makes a missing item. */
function pack(items) {
  const bytes = encoder.encode(items.join(""));
  const ends = new Uint32Array(items.length);
  const missing = [];
  let end = 0;
  for (let index = 0; index < items.length; index++) {
    const item = items[index];
    if (item === undefined) {
      missing.push(index);
    } else {
      end += item.length;
    }
    ends[index] = end;
  }
  if (end !== bytes.length) {
    // Not ASCII: characters and bytes are counted apart.
    end = 0;
    for (let index = 0; index < items.length; index++) {
      end += items[index] === undefined ? 0 : encoder.encode(items[index]).length;
      ends[index] = end;
    }
  }
  return { bytes, ends, missing: Uint32Array.from(missing) };
}

// JSON.

/** Stands between two values that are parsed at once. */
const BETWEEN = "|;|";

/**
 * Each text parsed: `null` for a missing one, `Unusable` for one that is not JSON. Where
 * `isWhole`, there is none of these.
 *
 * All are parsed as one array. Its result counts only where each mark between two values is found
 * in its place, and where no value can hold such a mark, written out or escaped: then each value
 * is JSON by itself, and not half of something that starts in the one before.
 */
function parseAll(items) {
  try {
    const values = items.includes(undefined) ? items.map((item) => item ?? "null") : items;
    const joined = values.join(`,"${BETWEEN}",`);
    const isClear = !items.join("").includes(`"${BETWEEN}"`);
    if (isClear && !joined.includes("\\u") && !SUSPECT.test(joined) && values.length > 0) {
      const parsed = JSON.parse(`[${joined}]`);
      const marks = parsed.length === 2 * values.length - 1;
      const found = new Array(values.length);
      found[0] = parsed[0];
      let inPlace = marks;
      for (let index = 1; inPlace && index < values.length; index++) {
        inPlace = parsed[2 * index - 1] === BETWEEN;
        found[index] = parsed[2 * index];
      }
      if (inPlace) {
        found.isWhole = true;
        return found;
      }
    }
  } catch {
    // One of them is not JSON; which one is found below.
  }
  return items.map(parsedOne);
}

function parsedOne(item) {
  if (item === undefined || item instanceof Unusable) {
    return item ?? null;
  }
  let parsed;
  try {
    parsed = JSON.parse(item);
  } catch (error) {
    return new Unusable(`is not JSON: ${error.message}`);
  }
  if (!SUSPECT.test(item)) {
    return parsed;
  }
  try {
    return exactly(item);
  } catch (error) {
    return new Unusable(error.message);
  }
}

// Numbers that `JSON.parse` would round.

/** Sixteen digits or a large exponent: whatever has neither is held exactly. */
const SUSPECT = /\d(?:\.?\d){15}|[eE][+-]?\d{3}/;

const TOKEN = /[\s,:]*(?:([{}[\]])|("(?:[^"\\]|\\.)*")|([^\s,:{}[\]"]+))/y;

/** Parses text that is known to be JSON, without rounding a number. */
function exactly(text) {
  TOKEN.lastIndex = 0;
  const next = () => TOKEN.exec(text);
  const value = ([, bracket, string, word]) => {
    if (string !== undefined) {
      return JSON.parse(string);
    }
    if (word !== undefined) {
      return word[0] === "-" || word[0] <= "9" ? number(word) : JSON.parse(word);
    }
    if (bracket === "[") {
      const items = [];
      for (let token = next(); token[1] !== "]"; token = next()) {
        items.push(value(token));
      }
      return items;
    }
    const object = {};
    for (let token = next(); token[1] !== "}"; token = next()) {
      const name = JSON.parse(token[2]);
      const found = value(next());
      // As JSON.parse does it, also of a name that means something elsewhere.
      Object.defineProperty(object, name, {
        value: found,
        configurable: true,
        enumerable: true,
        writable: true,
      });
    }
    return object;
  };
  return value(next());
}

function number(text) {
  const double = Number(text);
  if (/^-?\d+$/.test(text)) {
    return Number.isSafeInteger(double) ? double : BigInt(text);
  }
  if (normal(text) !== normal(String(double))) {
    throw new Reject(`has the number ${text}, which would be rounded; send it as a text`);
  }
  return double;
}

/** One text for all spellings of a number. */
function normal(text) {
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (parts === null) {
    return undefined; // infinite
  }
  const [, sign, whole, fraction = "", exponent = "0"] = parts;
  const digits = (whole + fraction).replace(/^0+/, "");
  const short = digits.replace(/0+$/, "");
  const zeros = digits.length - short.length;
  return short === "" ? "0" : `${sign}${short}e${Number(exponent) - fraction.length + zeros}`;
}

/** As `JSON.stringify`, which refuses to write a `BigInt`. */
function stringify(value) {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (!(error instanceof TypeError) || !hasBigInt(value, new Set())) {
      throw error;
    }
  }
  return written(value);
}

function hasBigInt(value, seen) {
  if (typeof value !== "object" || value === null || seen.has(value)) {
    return typeof value === "bigint";
  }
  seen.add(value);
  return Object.values(value).some((item) => hasBigInt(item, seen));
}

/** `undefined` for what JSON has no form for. */
function written(value) {
  if (typeof value === "bigint") {
    return String(value);
  }
  if (typeof value !== "object" || value === null || typeof value.toJSON === "function") {
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) {
    return `[${value.map((item) => written(item) ?? "null").join(",")}]`;
  }
  const fields = [];
  for (const [name, item] of Object.entries(value)) {
    const text = written(item);
    if (text !== undefined) {
      fields.push(`${JSON.stringify(name)}:${text}`);
    }
  }
  return `{${fields.join(",")}}`;
}
