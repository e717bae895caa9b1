//! A plugin that does wrong whatever its configuration names: a JSON string, or on a host, where a
//! configuration is a table, `{"behaviour": …}`.
//!
//! Its views are "own" (0, by-key) and "any" (1, shared), and it asks for the header "note".
//! Behaviours that are no misdeed (`echo`, `read`, `remember`, `headers`) show that the way in
//! and out works.

mod bindings;
mod column;

use std::cell::{Cell, RefCell};
use std::hint::black_box;

use bindings::contract::{
    Batch, Descriptor, Encoding, Guest, Header, Message, Output, Ownership, Reject, View, Writes,
};
use bindings::documents;
use bindings::host::{self, Level};
use column::{items, join};

struct Misbehaving;

thread_local! {
    static BEHAVIOUR: RefCell<String> = const { RefCell::new(String::new()) };
    /// Calls that this instance has seen.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

impl Guest for Misbehaving {
    fn describe() -> Descriptor {
        let view = |name: &str, ownership| View {
            name: name.to_owned(),
            ownership,
        };
        Descriptor {
            name: "misbehaving".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Does what no plugin should.".to_owned(),
            encoding: Encoding::Json,
            views: vec![
                view("own", Ownership::ByKey),
                view("any", Ownership::Shared),
            ],
            headers: vec!["note".to_owned()],
            config_schema: r#"{"type":["object","string"]}"#.to_owned(),
        }
    }

    fn configure(config: String) -> Result<(), String> {
        std::panic::set_hook(Box::new(|info| {
            host::log(Level::Error, &info.to_string());
        }));
        let table = config.strip_prefix("{\"behaviour\":");
        let name = table.and_then(|rest| rest.strip_suffix('}'));
        let behaviour = name.unwrap_or(&config).trim_matches('"');
        match behaviour {
            "decline" => return Err("there is no behaviour of this name".to_owned()),
            "configure-trap" => std::process::abort(),
            "configure-loop" => spin(),
            _ => {}
        }
        BEHAVIOUR.set(behaviour.to_owned());
        Ok(())
    }

    fn project(batch: Batch) -> Result<Output, String> {
        CALLS.set(CALLS.get() + 1);
        let behaviour = BEHAVIOUR.with_borrow(Clone::clone);
        match behaviour.as_str() {
            "echo" => Ok(echo(&batch)),
            "read" => Ok(read(&batch)),
            "remember" => remember(&batch),
            "headers" => Ok(headers(&batch)),

            "trap" => std::process::abort(),
            "panic" => panic!("the aircraft {:?} has no wings", items(&batch.keys)[0]),
            "loop" => spin(),
            "memory" => eat_memory(),
            "recursion" => Err(recurse(1).to_string()),
            "err" => Err("the whole batch is wrong".to_owned()),
            "reject" => Ok(reject()),
            "chatter" => Ok(chatter(&batch)),

            "read-too-much" => Ok(read_ids(0, &vec![Some(b"x".as_slice()); 1_000])),
            "read-nowhere" => Ok(read_ids(7, &[Some(b"x")])),
            "read-no-text" => Ok(read_ids(0, &[Some(b"\xff")])),

            "undeclared-view" => Ok(write(2, b"a", b"{}")),
            "wrong-id" => Ok(write(0, b"not the key", b"{}")),
            "not-json" => Ok(write(1, b"a", b"{\"n\":")),
            "huge-output" => Ok(write(1, b"a", &huge_document())),
            "twice" => Ok(twice()),
            "bad-ends" => Ok(bad_ends()),
            "message" => Ok(message()),
            other => Err(format!("there is no behaviour {other:?}")),
        }
    }
}

/// The last value of each key becomes the key's document.
fn echo(batch: &Batch) -> Output {
    let (keys, values) = (items(&batch.keys), items(&batch.values));
    let mut last: Vec<usize> = (0..keys.len()).filter(|&i| keys[i].is_some()).collect();
    // The last event of a key comes first, and is the one that is kept.
    last.sort_by_key(|&i| (keys[i], std::cmp::Reverse(i)));
    last.dedup_by_key(|&mut i| keys[i]);
    output(last.iter().map(|&i| (i, 0, keys[i], values[i])))
}

/// Each key's document as it was read, or a note that there is none.
fn read(batch: &Batch) -> Output {
    let keys = items(&batch.keys);
    let found = documents::get_many(0, &batch.keys);
    let found = items(&found);
    output((0..keys.len()).map(|i| {
        let document = found[i].unwrap_or(br#"{"missing":true}"#);
        (i, 0, keys[i], Some(document))
    }))
}

/// How many calls this instance has seen; fails where a value says so.
fn remember(batch: &Batch) -> Result<Output, String> {
    if items(&batch.values).contains(&Some(b"fail".as_slice())) {
        return Err("a value says so".to_owned());
    }
    let document = format!(r#"{{"calls":{}}}"#, CALLS.get());
    Ok(write(1, b"calls", document.as_bytes()))
}

/// Everything that is known of the events, in one document.
fn headers(batch: &Batch) -> Output {
    let notes: Vec<String> = items(&batch.headers[0])
        .iter()
        .map(|note| format!("{:?}", note.map(String::from_utf8_lossy)))
        .collect();
    let document = format!(
        r#"{{"topic":"{}","partition":{},"offsets":{:?},"timestamps":{:?},"notes":{:?}}}"#,
        batch.topic, batch.partition, batch.offsets, batch.timestamps_ms, notes
    );
    write(1, b"seen", document.as_bytes())
}

/// More lines and counters than anybody may have, and an answer nevertheless.
fn chatter(batch: &Batch) -> Output {
    for number in 0..1_000 {
        host::log(Level::Info, &"a long story ".repeat(1_000));
        host::count(&format!("story-{number}"), 1);
    }
    echo(batch)
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

fn eat_memory() -> ! {
    loop {
        black_box(Vec::<u8>::with_capacity(1 << 20).leak());
    }
}

/// Not a tail call, so that each level takes its stack.
fn recurse(level: u64) -> u64 {
    let below = if black_box(level) == 0 {
        0
    } else {
        recurse(level + 1)
    };
    black_box(below) + level
}

fn huge_document() -> Vec<u8> {
    format!(r#"{{"s":"{}"}}"#, "x".repeat(17 << 20)).into_bytes()
}

fn read_ids(view: u32, ids: &[Option<&[u8]>]) -> Output {
    let ids = join(ids.iter().copied());
    black_box(documents::get_many(view, &ids));
    empty()
}

fn reject() -> Output {
    let reject = |event, reason: &str| Reject {
        event,
        reason: reason.to_owned(),
    };
    Output {
        rejects: vec![reject(1, "it has no legs"), reject(0, "it has no wings")],
        ..empty()
    }
}

fn twice() -> Output {
    let id = Some(b"a".as_slice());
    output([(0, 1, id, Some(b"{}".as_slice())), (0, 1, id, None)])
}

fn bad_ends() -> Output {
    let mut output = write(1, b"a", b"{}");
    output.writes.documents.ends[0] = u32::MAX;
    output
}

fn message() -> Output {
    Output {
        messages: vec![Message {
            event: 0,
            topic: "elsewhere".to_owned(),
            key: None,
            value: Some(b"news".to_vec()),
            headers: vec![Header {
                name: "note".to_owned(),
                value: Vec::new(),
            }],
        }],
        ..empty()
    }
}

fn empty() -> Output {
    output([])
}

fn write(view: u32, id: &[u8], document: &[u8]) -> Output {
    output([(0, view, Some(id), Some(document))])
}

/// Event, view, id, document.
type Write<'a> = (usize, u32, Option<&'a [u8]>, Option<&'a [u8]>);

fn output<'a>(writes: impl IntoIterator<Item = Write<'a>>) -> Output {
    let writes: Vec<Write<'_>> = writes.into_iter().collect();
    Output {
        writes: Writes {
            events: writes.iter().map(|w| w.0 as u32).collect(),
            views: writes.iter().map(|w| w.1).collect(),
            ids: join(writes.iter().map(|w| w.2)),
            documents: join(writes.iter().map(|w| w.3)),
        },
        messages: Vec::new(),
        rejects: Vec::new(),
    }
}
