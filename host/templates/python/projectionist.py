"""From a batch's columns to the method `fold` of a projection, and back to columns.

All that crosses into a plugin costs, so keys, values and documents come as one byte string each,
and are decoded, and documents encoded, a whole column at a time.

An integer of JSON is an `int` of any length. An event with another number that no `float` holds
exactly is rejected.

Guarantees:
- The documents are those of folding one event after the other.
- An event whose fold raises is rejected with the error's text and leaves its document as it was,
  whatever the fold had done to it; the later events of its key are left to the host.
"""

import io
import json
import sys
from json.decoder import JSONDecoder

IGNORE = object()
"""What `fold` returns where an event leaves its document as it is."""

DELETE = object()
"""What `fold` returns where no document shall exist any more."""


class Reject(Exception):
    """Raised by `fold` for an event that cannot be folded, now or ever."""


def print_line(level: str, message: str) -> None:
    print(f"{level}: {message}", file=sys.stderr)


class Log:
    """`log.info("…")` and so on write a line to the plugin's log, in a test to standard error.

    A host cuts long lines, and counts those above 100 a second instead of keeping them.
    """

    def __init__(self):
        self.sink = print_line

    def trace(self, message) -> None:
        self.sink("trace", str(message))

    def debug(self, message) -> None:
        self.sink("debug", str(message))

    def info(self, message) -> None:
        self.sink("info", str(message))

    def warn(self, message) -> None:
        self.sink("warn", str(message))

    def error(self, message) -> None:
        self.sink("error", str(message))


log = Log()


class Printed(io.TextIOBase):
    """A stream whose lines go to the plugin's log."""

    def __init__(self, level: str):
        self.level = level
        self.kept = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self.kept = (self.kept + text).split("\n")
        for line in lines:
            if line:
                log.sink(self.level, line)
        return len(text)

    def end(self) -> None:
        """Logs what has no line's end yet."""
        if self.kept:
            self.write("\n")


def log_to(sink) -> None:
    """Sends lines of the log, and what the plugin prints, to `sink(level, message)`."""
    log.sink = sink
    sys.stdout = Printed("info")
    sys.stderr = Printed("error")


def end_lines() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Printed):
            stream.end()


class Projection:
    """What an author derives from."""

    name: str
    version: str
    view: str
    description = ""
    headers: list[str] = []
    """The headers that the projection reads; the host passes no others."""
    config_schema: dict | None = None
    """JSON Schema of the configuration."""

    def configure(self, config: dict) -> None:
        """Raises what is wrong with the configuration. As it stands: any that is given."""
        if config:
            raise ValueError(f"{self.name} takes no configuration")

    def fold(self, document: dict | None, event: "Event"):
        """Gives the document that is to be stored, `DELETE` or `IGNORE`.

        `document` is `None` where none exists, and may be changed.
        """
        raise NotImplementedError


class Event:
    """One event, as `fold` sees it: `key`, a text; `value`, parsed from JSON; and more."""

    __slots__ = ("key", "value", "is_tombstone", "_batch", "_index")

    def __init__(self, key, value, batch, index):
        self.key = key
        self.value = value
        # Tells a tombstone, whose value is `None`, from a value that is `null` in JSON.
        self.is_tombstone = value is None and index in batch.values.missing
        self._batch = batch
        self._index = index

    @property
    def topic(self) -> str:
        return self._batch.topic

    @property
    def partition(self) -> int:
        return self._batch.partition

    @property
    def offset(self) -> int:
        return self._batch.offsets[self._index]

    @property
    def timestamp_ms(self) -> int:
        return self._batch.timestamps_ms[self._index]

    def header(self, name: str) -> str | None:
        """A header that `headers` of the projection names, as text."""
        column = self._batch.headers[self._batch.header_names.index(name)]
        if self._index in column.missing:
            return None
        start = column.ends[self._index - 1] if self._index else 0
        return column.bytes[start : column.ends[self._index]].decode()


class Unusable:
    """Stands for an item that cannot be read; `item` tells one from another."""

    __slots__ = ("reason", "item")

    def __init__(self, reason, item=None):
        self.reason = reason
        self.item = item


def configure(projection, text):
    projection.configure(json.loads(text) if text.strip() else {})


def project(projection, batch, get_many):
    """Folds a batch. `get_many` asks for stored documents: `(bytes, ends, missing)` of ids to a
    column of JSON. Gives events, ids and documents of the writes, and the rejects."""
    batch.header_names = projection.headers
    keys = texts(batch.keys)
    values = parse_all(batch.values)
    rejects = []
    slots = {}
    unreadable = set()
    for index, key in enumerate(keys):
        if key.__class__ is str:
            if key not in slots:
                slots[key] = len(slots)
            continue
        # Without a key an event belongs to no document.
        found = values[index] if key is None else key
        if found.__class__ is Unusable and not (key and key.item in unreadable):
            what = "value" if key is None else "key"
            rejects.append((index, f"the {what} {found.reason}"))
            if key:
                unreadable.add(key.item)

    ids = list(slots)
    stored = get_many(pack([key.encode() for key in ids])) if ids else None
    documents = parse_all(stored) if ids else []
    existed = [document is not None for document in documents]
    shaped_by = [-1] * len(ids)
    failed = set()
    fold = projection.fold
    for index, key in enumerate(keys):
        if key.__class__ is not str:
            continue
        slot = slots[key]
        if failed and slot in failed:
            continue
        value = values[index]
        try:
            if value.__class__ is Unusable:
                raise Reject(f"the value {value.reason}")
            folded = fold(documents[slot], Event(key, value, batch, index))
            if folded.__class__ is dict:
                documents[slot] = folded
                shaped_by[slot] = index
            elif folded is not IGNORE:
                documents[slot] = checked(folded)
                shaped_by[slot] = index
        except Exception:
            failed.add(slot)

    # One write for each document that was folded, except where none existed and none shall.
    events, written, bodies = [], [], []
    for slot, key in enumerate(ids):
        event, body = shaped_by[slot], None
        if event >= 0 and documents[slot] is not None and slot not in failed:
            try:
                body = encode(documents[slot])
            except Exception:
                failed.add(slot)
        if slot in failed:
            event, body, reject = fold_singly(projection, batch, keys, key, item(stored, slot))
            rejects.append(reject)
        if event >= 0 and (existed[slot] or body is not None):
            events.append(event)
            written.append(key.encode())
            bodies.append(body)
    rejects.sort()
    return events, pack(written), pack(bodies), rejects


def fold_singly(projection, batch, keys, key, stored):
    """Folds the events of one key until one is rejected, or makes what cannot be stored. Gives the
    event before it that last shaped the document, what that made of it, and the reject."""
    shaped_by, body = -1, stored
    for index, other in enumerate(keys):
        if other != key:
            continue
        try:
            value = parsed(item(batch.values, index))
            if value.__class__ is Unusable:
                raise Reject(f"the value {value.reason}")
            # From the text each time: an earlier fold may hold on to parts of it.
            folded = projection.fold(parsed(body), Event(key, value, batch, index))
            if folded is not IGNORE:
                document = checked(folded)
                body = None if document is None else encode(document)
                shaped_by = index
        except Exception as error:
            return shaped_by, body, (index, reason_of(error))
    raise RuntimeError(f'the events of "{key}" fold one way together and another way one by one')


def checked(folded):
    """What a fold returned, with `None` for no document."""
    if folded.__class__ is dict:
        return folded
    if folded is DELETE:
        return None
    kind = type(folded).__name__
    raise TypeError(f"fold returned {kind}; it returns the document, a dict, or DELETE or IGNORE")


def reason_of(error):
    return str(error) if isinstance(error, Reject) else f"{type(error).__name__}: {error}"


def item(column, index):
    """One item of a column as bytes; `None` where it is missing."""
    if index in column.missing:
        return None
    return column.bytes[column.ends[index - 1] if index else 0 : column.ends[index]]


def texts(column):
    """Each item of a column as text; `None` where it is missing."""
    data, ends = column.bytes, column.ends
    starts = [0, *ends[:-1]]
    if data.isascii():
        text = data.decode()
        items = [text[start:end] for start, end in zip(starts, ends)]
    else:
        items = [decoded(data[start:end]) for start, end in zip(starts, ends)]
    for index in column.missing:
        items[index] = None
    return items


def decoded(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Unusable("is not UTF-8", data)


def pack(items):
    """Bytes, ends and missing indices of a column."""
    ends = []
    end = 0
    for data in items:
        end += len(data) if data is not None else 0
        ends.append(end)
    missing = [index for index, data in enumerate(items) if data is None]
    return b"".join([data for data in items if data is not None]), ends, missing


def not_json(name):
    raise ValueError(f"{name} is not JSON")


class Inexact(ValueError):
    """A number that would be rounded."""


def exact_float(text):
    number = float(text)
    # Fifteen digits, a point and a sign: all of these are held.
    if len(text) > 16 or "e" in text or "E" in text:
        if normal(text) != normal(repr(number)):
            raise Inexact(f"has the number {text}, which would be rounded; send it as a text")
    return number


def normal(text):
    """One text for all spellings of a number; `None` where it is infinite."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    if not whole.isdigit():
        return None
    digits = (whole + fraction).lstrip("0")
    short = digits.rstrip("0")
    if not short:
        return "0"
    sign = "-" if mantissa.startswith("-") else ""
    return f"{sign}{short}e{int(exponent or 0) - len(fraction) + len(digits) - len(short)}"


scan_once = JSONDecoder(parse_float=exact_float, parse_constant=not_json).scan_once
encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(document):
    return encoder.encode(document).encode()


def parse_all(column):
    """Each item parsed: `None` for a missing one, `Unusable` for one that is not JSON."""
    data, ends = column.bytes, column.ends
    values = []
    missing = set(column.missing)
    if not data.isascii():
        starts = [0, *ends[:-1]]
        for index, (start, end) in enumerate(zip(starts, ends)):
            values.append(None if index in missing else parsed(data[start:end]))
        return values
    # Without a copy of each: what is scanned must end where the item ends.
    text = data.decode()
    start = 0
    for index, end in enumerate(ends):
        try:
            value, stop = scan_once(text, start)
            if stop == end:
                values.append(value)
                start = end
                continue
        except (StopIteration, ValueError, RecursionError):
            pass
        values.append(None if index in missing else parsed(data[start:end]))
        start = end
    return values


def parsed(data):
    if data is None:
        return None
    try:
        return json.loads(data.decode(), parse_float=exact_float, parse_constant=not_json)
    except UnicodeDecodeError:
        return Unusable("is not UTF-8")
    except Inexact as error:
        return Unusable(str(error))
    except (ValueError, RecursionError) as error:
        return Unusable(f"is not JSON: {error}")
