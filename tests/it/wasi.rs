//! What core modules that import WASI get in its place, on the running engine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use projectionist::plugin::{Engine, Limits, Program, Projection};
use projectionist::projection::{
    Batch, Documents, Error, Fault, FaultKind, HostError, Output, Projector, ViewIndex,
};
use projectionist::record::{Event, Offset, TopicPartition};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const ADAPTER: &str = "../host/src/plugin/wasi/adapter";

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Assembles a text, and adds what the world that `wit` declares means.
fn module(text: &str, wit: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(path("../wit")).expect("wit/ parses");
    let package = resolve.push_str("world.wit", wit).expect("it parses");
    let world = resolve
        .select_world(&[package], None)
        .expect("there is one world");
    let text = std::fs::read_to_string(path(text)).expect("a text");
    let mut module = wat::parse_str(&text).expect("valid text");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("the world can be encoded");
    module
}

#[test]
fn the_adapter_is_made_from_its_text() {
    let made = module(
        &format!("{ADAPTER}.wat"),
        &std::fs::read_to_string(path("../host/src/plugin/wasi/stdio.wit")).expect("a text"),
    );
    let binary = path(&format!("{ADAPTER}.wasm"));
    if std::env::var_os("PROJECTIONIST_UPDATE").is_some() {
        std::fs::write(&binary, &made).expect("the source can be written to");
    }
    let there = std::fs::read(&binary).expect("a file");
    assert!(
        there == made,
        "{} is not what its text and wit/ come to; make it anew with \
         PROJECTIONIST_UPDATE=1 make test ARGS='--test wasi'",
        binary.display()
    );
}

/// The probe, with file descriptor `fd` as its configuration.
fn probe(fd: u32) -> Projection {
    static PROGRAM: OnceLock<Arc<Program>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let probe = module(
            "it/wasi/probe.wat",
            "package tests:probe; world probe { export projectionist:plugin/projection@0.1.0; }",
        );
        let engine = Arc::new(Engine::new().expect("this machine runs Wasm"));
        Program::load(&engine, "probe.wasm", &probe).expect("its WASI is replaced")
    });
    Projection::new(program.clone(), "test", &fd.into(), Limits::default())
        .unwrap_or_else(|error| panic!("nothing but the empty WASI was expected: {error}"))
}

struct Nothing;

impl Documents for Nothing {
    fn get_many(
        &mut self,
        _view: ViewIndex,
        ids: &[&str],
        _bytes_max: usize,
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError> {
        Ok(Some(vec![None; ids.len()]))
    }
}

fn print(fd: u32, pieces: &[&[u8]]) -> Result<Output, Error> {
    let event = |piece: &&[u8]| Event::new(Offset(0), 0, Some(b"k"), Some(piece), Vec::new());
    let events: Vec<Arc<Event>> = pieces.iter().map(|piece| Arc::new(event(piece))).collect();
    let partition = &TopicPartition::new("lines", 0);
    let batch = Batch {
        partition,
        events: &events,
    };
    probe(fd).project(batch, Box::new(Nothing))
}

/// How the probe ends when it prints these pieces and exits.
fn exit(fd: u32, pieces: &[&[u8]]) -> Fault {
    match print(fd, pieces) {
        Err(Error::Fault(fault)) => fault,
        other => panic!("a fault was due, not {other:?}"),
    }
}

#[test]
fn a_module_that_imports_wasi_runs_without_any() {
    let output = print(0, &[b"unused"]).expect("it does nothing");
    assert_eq!(output, Output::default());
}

#[test]
fn what_is_printed_to_standard_error_is_logged_in_whole_lines() {
    let long = [b'x'; 5_000];
    let cases: [(&str, &[&[u8]], &str); 8] = [
        ("in pieces", &[b"half", b" a ", b"line\n"], "half a line"),
        ("two lines", &[b"one\ntwo\n"], "two"),
        ("without an end", &[b"one\n", b"tw", b"o"], "two"),
        ("empty lines", &[b"panic: boom\n\n", b"\n"], "panic: boom"),
        ("text", &["aü€😀\n".as_bytes()], "aü€😀"),
        (
            "no text",
            &[b"a\xff \xc3", b" \xed\xa0\x80 \xf0\x90\x80\n"],
            "a? ? ??? ???",
        ),
        ("too long", &[&long], &"x".repeat(5_000 - 4_096)),
        ("cut in a character", &[b"\xe2\x82", b"\xac\n"], "€"),
    ];
    for (name, pieces, expected) in cases {
        let fault = exit(2, pieces);
        assert_eq!(fault.kind, FaultKind::Trap, "{name}: {fault}");
        let line = fault.detail.lines().next();
        assert_eq!(line, Some(expected), "{name}: {fault}");
        assert!(!fault.detail.contains("at assert"), "{name}: {fault}");
    }
}

#[test]
fn standard_output_is_no_error() {
    let fault = exit(1, &[b"all is well\n"]);
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(!fault.detail.contains("all is well"), "{fault}");
    assert!(!fault.detail.contains("at assert"), "{fault}");
}
