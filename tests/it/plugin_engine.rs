//! The plugin engine against a guest that misbehaves on demand, and against files that are no
//! plugins. A plugin's misdeed is a fault with a readable text, and never more than that.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bson::rawdoc;
use bytes::Bytes;
use projectionist::plugin::{Engine, Error, Limits, Program, Projection};
use projectionist::projection::{
    Batch, DocumentWrite, Documents, Error as ProjectError, Fault, FaultKind, HostError, Output,
    Projector, ViewIndex,
};
use projectionist::record::{Event, Header, Offset, TopicPartition};
use projectionist_tests::guests::guest;

fn engine() -> &'static Arc<Engine> {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    ENGINE.get_or_init(|| Arc::new(Engine::new().expect("this machine runs Wasm")))
}

fn misbehaving() -> Arc<Program> {
    static PROGRAM: OnceLock<Arc<Program>> = OnceLock::new();
    let load = || Program::load(engine(), "misbehaving.wasm", &guest("misbehaving"));
    PROGRAM
        .get_or_init(|| load().expect("its file is in order"))
        .clone()
}

/// A misbehaving projection, fed with events of its own partition.
struct Lane {
    projection: Projection,
    documents: HashMap<String, Bytes>,
}

impl Lane {
    fn new(behaviour: &str) -> Self {
        Lane::limited(behaviour, Limits::default())
    }

    fn limited(behaviour: &str, limits: Limits) -> Self {
        let projection = Projection::new(misbehaving(), "test", &behaviour.into(), limits);
        Lane {
            projection: projection.expect("it starts well"),
            documents: HashMap::new(),
        }
    }

    fn stored(mut self, id: &str, json: &'static str) -> Self {
        self.documents
            .insert(id.to_owned(), Bytes::from_static(json.as_bytes()));
        self
    }

    fn project(&mut self, events: &[Arc<Event>]) -> Result<Output, ProjectError> {
        let documents = Stored(self.documents.clone());
        self.project_with(events, Box::new(documents))
    }

    fn project_with(
        &mut self,
        events: &[Arc<Event>],
        documents: Box<dyn Documents>,
    ) -> Result<Output, ProjectError> {
        let partition = &TopicPartition::new("flights", 3);
        self.projection
            .project(Batch { partition, events }, documents)
    }

    fn fault(&mut self, events: &[Arc<Event>]) -> Fault {
        match self.project(events) {
            Err(ProjectError::Fault(fault)) => fault,
            other => panic!("a fault was due, not {other:?}"),
        }
    }
}

struct Stored(HashMap<String, Bytes>);

impl Documents for Stored {
    fn get_many(
        &mut self,
        _view: ViewIndex,
        ids: &[&str],
        _bytes_max: usize,
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError> {
        Ok(Some(
            ids.iter().map(|&id| self.0.get(id).cloned()).collect(),
        ))
    }
}

/// Two events, of the keys "a" and "b".
fn two_events() -> Vec<Arc<Event>> {
    vec![event(0, "a", r#"{"n":0}"#), event(1, "b", r#"{"n":1}"#)]
}

fn event(offset: i64, key: &str, value: &str) -> Arc<Event> {
    record(offset, Some(key), Some(value), &[])
}

fn record(
    offset: i64,
    key: Option<&str>,
    value: Option<&str>,
    headers: &[(&str, &str)],
) -> Arc<Event> {
    let header = |&(name, value): &(&str, &str)| Header {
        name: name.into(),
        value: Some(value.as_bytes().into()),
    };
    Arc::new(Event::new(
        Offset(offset),
        1_357_034_400_000 + offset,
        key.map(str::as_bytes),
        value.map(str::as_bytes),
        headers.iter().map(header).collect(),
    ))
}

/// (view, id, event, document) of each write.
fn writes(output: &Output) -> Vec<(u32, &str, usize, Option<&str>)> {
    let text = |encoded| std::str::from_utf8(encoded).expect("JSON is UTF-8");
    output
        .writes
        .iter()
        .map(|write| {
            let body = write.body.as_ref().map(|body| text(&body.encoded));
            (write.key.view.0, &*write.key.id, write.event, body)
        })
        .collect()
}

#[test]
fn a_plugin_says_what_it_is() {
    let program = misbehaving();
    let descriptor = program.descriptor();
    assert_eq!(descriptor.name, "misbehaving");
    assert_eq!(&*descriptor.views[1].name, "any");
    assert_eq!(descriptor.headers, ["note"]);
    assert_eq!(program.hash().len(), 64);
    let again = Program::load(engine(), "other name", &guest("misbehaving")).expect("in order");
    assert_eq!(again.hash(), program.hash());
}

#[test]
fn events_come_out_as_documents() {
    let mut lane = Lane::new("echo");
    let events = [
        event(0, "a", r#"{"n":0}"#),
        record(1, None, Some("no key"), &[]),
        event(2, "b", r#"{"n":2}"#),
        event(3, "a", r#"{"n":3}"#),
        record(4, Some("b"), None, &[]),
    ];
    let output = lane.project(&events).expect("nothing is wrong");
    assert_eq!(
        writes(&output),
        [(0, "a", 3, Some(r#"{"n":3}"#)), (0, "b", 4, None)]
    );
    let body = output.writes[0].body.as_ref().expect("not a deletion");
    assert_eq!(body.bson.get_i64("n").expect("a number"), 3);
}

#[test]
fn documents_are_the_same_in_either_encoding() {
    let fold = |name: &str| {
        let program = Program::load(engine(), name, &guest(name)).expect(name);
        let config = serde_json::json!({});
        let projection = Projection::new(program, name, &config, Limits::default());
        let mut lane = Lane {
            projection: projection.expect(name),
            documents: HashMap::new(),
        };
        let events = [
            event(0, "a", r#"{"n":7}"#),
            event(1, "ü", r#"{"n":1}"#),
            event(2, "a", r#"{"n":0}"#),
        ];
        let first = lane.project(&events).expect("numbers");
        for write in &first.writes {
            let body = write.body.as_ref().expect("a document");
            let id = write.key.id.to_string();
            lane.documents.insert(id, body.encoded.clone());
        }
        // One that is there, one that is not, and one that goes.
        let events = [
            event(3, "a", r#"{"n":5}"#),
            event(4, "b", r#"{"n":2}"#),
            record(5, Some("ü"), None, &[]),
        ];
        lane.project(&events).expect("numbers")
    };
    let (json, bson) = (fold("tally"), fold("tally_bson"));

    let stored = |output: &Output| -> Vec<_> {
        let body = |write: &DocumentWrite| write.body.as_ref().map(|body| body.bson.clone());
        output
            .writes
            .iter()
            .map(|write| (write.key.clone(), write.event, body(write)))
            .collect()
    };
    assert_eq!(stored(&bson), stored(&json));
    let a = bson.writes[0].body.as_ref().expect("a document");
    assert_eq!(
        a.bson,
        rawdoc! { "count": 3_i64, "sum": 12_i64, "chain": 7_i64 * 31 * 31 + 5 }
    );
    assert_eq!(&a.encoded[..], a.bson.as_bytes());
    assert_eq!(bson.writes[2].body, None);
}

#[test]
fn plugins_made_with_the_sdk_run() {
    for (name, views) in [("aircraft", 1), ("airports", 1), ("mirror", 1)] {
        let program = Program::load(engine(), name, &guest(name)).expect(name);
        assert_eq!(program.descriptor().views.len(), views, "{name}");
        let config = serde_json::json!({});
        let projection = Projection::new(program, name, &config, Limits::default());
        let mut lane = Lane {
            projection: projection.expect(name),
            documents: HashMap::new(),
        };
        let fault = lane.fault(&[event(0, "a", "no JSON")]);
        assert_eq!(
            (fault.kind, fault.event),
            (FaultKind::Rejected, Some(0)),
            "{name}: {fault}"
        );
    }
}

#[test]
fn a_plugin_sees_offsets_times_and_the_headers_that_it_asked_for() {
    let mut lane = Lane::new("headers");
    let events = [
        record(
            7,
            None,
            None,
            &[("note", "old"), ("note", "new"), ("x", "y")],
        ),
        record(9, None, None, &[("other", "unseen")]),
    ];
    let output = lane.project(&events).expect("nothing is wrong");
    let (_, _, _, seen) = writes(&output)[0];
    let seen: serde_json::Value = serde_json::from_str(seen.expect("a document")).expect("JSON");
    assert_eq!(
        seen,
        serde_json::json!({
            "topic": "flights",
            "partition": 3,
            "offsets": [7, 9],
            "timestamps": [1_357_034_400_007_u64, 1_357_034_400_009_u64],
            "notes": ["Some(\"new\")", "None"],
        })
    );
}

#[test]
fn a_plugin_reads_stored_documents() {
    let mut lane = Lane::new("read").stored("b", r#"{"stored":true}"#);
    let output = lane.project(&two_events()).expect("nothing is wrong");
    assert_eq!(
        writes(&output),
        [
            (0, "a", 0, Some(r#"{"missing":true}"#)),
            (0, "b", 1, Some(r#"{"stored":true}"#)),
        ]
    );
}

#[test]
fn each_misdeed_is_a_fault_of_its_kind_with_a_readable_text() {
    use FaultKind::{Failed, InvalidOutput, Memory, Rejected, Timeout, Trap};
    let cases: [(&str, FaultKind, &str, Option<usize>); 18] = [
        ("trap", Trap, "`unreachable` instruction executed", None),
        ("panic", Trap, "the aircraft Some(", None),
        ("recursion", Trap, "call stack exhausted", None),
        ("loop", Timeout, "it ran for more than 2.002s", None),
        ("memory", Memory, "of memory, and may have 128.0 MiB", None),
        ("err", Failed, "the whole batch is wrong", None),
        ("reject", Rejected, "it has no wings", Some(0)),
        (
            "read-too-much",
            InvalidOutput,
            "wants 1000 documents for this batch, and may have 20",
            None,
        ),
        (
            "read-nowhere",
            InvalidOutput,
            "get-many: view 7 is not one of its 2",
            None,
        ),
        (
            "read-no-text",
            InvalidOutput,
            "get-many: an id is missing or no UTF-8",
            None,
        ),
        (
            "undeclared-view",
            InvalidOutput,
            "view 2, and it declared 2",
            Some(0),
        ),
        (
            "wrong-id",
            InvalidOutput,
            "document \"not the key\" of view \"own\" was shaped by an event with the key \"a\"",
            Some(0),
        ),
        (
            "not-json",
            InvalidOutput,
            "document \"a\" of view \"any\" cannot be stored: EOF",
            Some(0),
        ),
        (
            "huge-output",
            InvalidOutput,
            "bytes, and a document has at most 16777216",
            Some(0),
        ),
        (
            "twice",
            InvalidOutput,
            "document \"a\" of view 1 twice",
            None,
        ),
        (
            "bad-ends",
            InvalidOutput,
            "column of documents is malformed",
            None,
        ),
        (
            "message",
            InvalidOutput,
            "a message for topic \"elsewhere\" goes where the projection may not send; add the \
             topic to projections.test.messages.topics",
            Some(0),
        ),
        (
            "nonsense",
            Failed,
            "there is no behaviour \"nonsense\"",
            None,
        ),
    ];
    for (behaviour, kind, text, event) in cases {
        // Only "loop" may reach it, however busy the machine is.
        let limits = Limits {
            call_base: Duration::from_secs(2),
            ..Limits::default()
        };
        let fault = Lane::limited(behaviour, limits).fault(&two_events());
        assert_eq!(fault.kind, kind, "{behaviour}: {fault}");
        assert!(fault.detail.contains(text), "{behaviour}: {fault}");
        assert_eq!(fault.event, event, "{behaviour}: {fault}");
    }
}

#[test]
fn a_trap_tells_the_panic_and_where_it_happened() {
    let fault = Lane::new("panic").fault(&two_events());
    let panic = fault.detail.find("has no wings").expect("the panic's text");
    let trap = fault.detail.find("unreachable").expect("the trap's text");
    assert!(panic < trap, "the panic comes first: {fault}");
    assert!(
        fault.detail.contains("misbehaving::"),
        "names functions: {fault}"
    );
}

#[test]
fn after_a_fault_the_instance_is_a_new_one() {
    let mut lane = Lane::new("remember");
    let calls = |lane: &mut Lane| {
        let output = lane.project(&two_events()).expect("nothing is wrong");
        writes(&output)[0].3.expect("a document").to_owned()
    };
    assert_eq!(calls(&mut lane), r#"{"calls":1}"#);
    assert_eq!(calls(&mut lane), r#"{"calls":2}"#);
    assert_eq!(lane.fault(&[event(2, "a", "fail")]).kind, FaultKind::Failed);
    assert_eq!(calls(&mut lane), r#"{"calls":1}"#);
}

#[test]
fn a_loop_is_stopped_close_to_its_limit() {
    let limits = Limits {
        call_base: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut lane = Lane::limited("loop", limits);
    let start = Instant::now();
    let fault = lane.fault(&two_events());
    let took = start.elapsed();
    assert_eq!(fault.kind, FaultKind::Timeout);
    assert!(took >= Duration::from_millis(200), "stopped after {took:?}");
    // The upper margin is for a machine that is busy with other tests.
    assert!(took < Duration::from_secs(5), "stopped after {took:?}");
}

/// Keeps the plugin waiting for much longer than the plugin itself may take.
struct Slow;

impl Documents for Slow {
    fn get_many(
        &mut self,
        _view: ViewIndex,
        ids: &[&str],
        _bytes_max: usize,
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            std::hint::spin_loop();
        }
        Ok(Some(vec![None; ids.len()]))
    }
}

#[test]
fn time_that_the_host_takes_to_read_documents_is_not_the_plugins() {
    let mut lane = Lane::new("read");
    let output = lane
        .project_with(&two_events(), Box::new(Slow))
        .expect("52 ms are enough for the plugin's own part");
    assert_eq!(output.writes.len(), 2);
}

struct Broken;

impl Documents for Broken {
    fn get_many(
        &mut self,
        _view: ViewIndex,
        _ids: &[&str],
        _bytes_max: usize,
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError> {
        Err(HostError::Documents("the store is away".into()))
    }
}

#[test]
fn what_the_host_cannot_read_is_never_the_plugins_fault() {
    let mut lane = Lane::new("read");
    match lane.project_with(&two_events(), Box::new(Broken)) {
        Err(ProjectError::Host(HostError::Documents(source))) => {
            assert_eq!(source.to_string(), "the store is away");
        }
        other => panic!("a host error was due, not {other:?}"),
    }
    lane.project(&two_events()).expect("the store is back");
}

#[test]
fn memory_is_bounded_and_the_fault_names_the_numbers() {
    let limits = Limits {
        memory_bytes_max: 16 << 20,
        ..Limits::default()
    };
    let fault = Lane::limited("memory", limits).fault(&two_events());
    assert_eq!(fault.kind, FaultKind::Memory);
    assert!(fault.detail.contains("may have 16.0 MiB"), "{fault}");
}

#[test]
fn a_plugin_that_chatters_is_cut_short_and_works_on() {
    let limits = Limits {
        call_base: Duration::from_secs(3),
        ..Limits::default()
    };
    let output = Lane::limited("chatter", limits)
        .project(&two_events())
        .expect("talking is no fault");
    assert_eq!(output.writes.len(), 2);
}

#[test]
fn a_configuration_that_is_not_taken_ends_in_the_plugins_words() {
    let cases = [
        ("decline", "there is no behaviour of this name"),
        ("configure-trap", "`unreachable` instruction executed"),
        ("configure-loop", "it ran for more than 100ms"),
    ];
    for (config, reason) in cases {
        let limits = Limits {
            call_max: Duration::from_millis(100),
            ..Limits::default()
        };
        let error = match Projection::new(misbehaving(), "fleet", &config.into(), limits) {
            Err(error @ Error::Configuration { .. }) => error.to_string(),
            Err(other) => panic!("{config}: {other}"),
            Ok(_) => panic!("{config}: taken"),
        };
        assert!(error.contains(reason), "{config}: {error}");
        assert!(
            error.contains("\"misbehaving.wasm\"") && error.contains("\"fleet\""),
            "{config}: {error}"
        );
    }
}

#[test]
fn a_plugin_that_does_not_fit_its_memory_does_not_start() {
    let limits = Limits {
        memory_bytes_max: 64 << 10,
        ..Limits::default()
    };
    let error = Projection::new(misbehaving(), "test", &"echo".into(), limits)
        .err()
        .expect("its memory starts larger");
    let text = error.to_string();
    assert!(
        text.contains("cannot start") && text.contains("may have 64.0 KiB"),
        "{text}"
    );
}

fn refusal(bytes: &[u8]) -> String {
    match Program::load(engine(), "orders.wasm", bytes) {
        Err(error @ Error::Refused { .. }) => error.to_string(),
        Err(other) => panic!("not a refusal: {other}"),
        Ok(_) => panic!("it was taken"),
    }
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid text")
}

#[test]
fn what_is_no_plugin_is_refused_by_name() {
    let exports = |interface: &str| {
        wat(&format!(
            r#"(component (instance $i) (export "{interface}" (instance $i)))"#
        ))
    };
    let imports =
        |interface: &str| wat(&format!(r#"(component (import "{interface}" (instance)))"#));
    let cases: [(&str, Vec<u8>, &str); 14] = [
        ("empty", Vec::new(), "is an empty file"),
        (
            "a script",
            b"#!/bin/sh\necho".to_vec(),
            "is not Wasm: it starts with \"#!/bin/sh\\necho\"",
        ),
        ("the text format", b"(module)".to_vec(), "is not Wasm"),
        (
            "machine code",
            b"\x7fELF\x02\x01\x01\x00".to_vec(),
            "is an ELF file (machine code), which would run",
        ),
        (
            "too large",
            vec![0; (64 << 20) + 1],
            "has 64.0 MiB, and this host takes at most",
        ),
        (
            "cut off",
            guest("misbehaving")[..1_000].to_vec(),
            "is not valid Wasm: ",
        ),
        (
            "bare module",
            wat("(module)"),
            "does not say which interfaces it implements",
        ),
        (
            "env",
            wat(r#"(module (import "env" "log" (func)))"#),
            "imports env.log, which no linker found",
        ),
        (
            "preview 0",
            wat(r#"(module (import "wasi_unstable" "fd_write" (func)))"#),
            "imports wasi_unstable.fd_write, and this host offers no WASI",
        ),
        (
            "WASI",
            imports("wasi:sockets/tcp@0.2.0"),
            "imports wasi:sockets/tcp@0.2.0, and this host offers no WASI",
        ),
        (
            "another's interface",
            imports("acme:db/sql@1.0.0"),
            "imports acme:db/sql@1.0.0, which this host does not offer",
        ),
        (
            "no world",
            wat("(component)"),
            "is no plugin: it exports nothing, and not \"projection\"",
        ),
        (
            "another world",
            exports("wasi:http/incoming-handler@0.2.0"),
            "exports wasi:http/incoming-handler@0.2.0, and not",
        ),
        (
            "an impostor",
            exports("projectionist:plugin/projection@0.1.0"),
            "does not fit the contract: ",
        ),
    ];
    for (name, bytes, reason) in cases {
        let text = refusal(&bytes);
        assert!(
            text.contains(reason) && text.starts_with("plugin \"orders.wasm\" "),
            "{name}: {text}"
        );
    }
}

/// The guest with another version of the contract in all its names.
fn guest_of_version(version: &str) -> Vec<u8> {
    let mut bytes = guest("misbehaving");
    let (old, new) = (b"@0.1.0", format!("@{version}"));
    assert_eq!(old.len(), new.len(), "only the length must stay");
    for start in 0..bytes.len() - old.len() {
        if bytes[start..].starts_with(old) {
            bytes[start..start + old.len()].copy_from_slice(new.as_bytes());
        }
    }
    // The package's own version stands in the metadata without the sign.
    bytes
}

#[test]
fn plugins_of_the_same_minor_version_are_taken_and_others_refused() {
    let program = Program::load(engine(), "later.wasm", &guest_of_version("0.1.9"))
        .expect("0.1.9 is compatible with 0.1.0");
    let mut projection = Projection::new(program, "test", &"echo".into(), Limits::default())
        .expect("it starts well");
    let partition = &TopicPartition::new("flights", 0);
    let events = &two_events();
    let output = projection
        .project(Batch { partition, events }, Box::new(Broken))
        .expect("nothing is wrong");
    assert_eq!(output.writes.len(), 2);

    let text = refusal(&guest_of_version("0.2.0"));
    assert!(
        text.contains("@0.2.0, and this host speaks version 0.1.x"),
        "{text}"
    );
}
