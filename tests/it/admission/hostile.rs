//! Plugins that pass the checks of their form and misbehave as soon as they are started, and one
//! whose form is a trap.

use std::path::Path;
use std::time::{Duration, Instant};

use projectionist::plugin::{Error, examine};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::engine;

/// A routing policy whose module starts and describes itself as told.
pub(super) fn policy(describe: &str, start: &str) -> Vec<u8> {
    let interface = "projectionist:plugin/routing@0.1.0";
    let mut module = wat::parse_str(format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "{interface}#describe") (result i32) {describe})
            (func (export "{interface}#configure") (param i32 i32) (result i32) unreachable)
            (func (export "{interface}#pick") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                unreachable)
            (func (export "{interface}#observe") (param i32 i32 i32))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
            (func $start {start})
            (start $start)
            ;; The record that describe answers: four texts of one byte, "7".
            (data (i32.const 16)
                "\30\00\00\00\01\00\00\00" "\30\00\00\00\01\00\00\00"
                "\30\00\00\00\00\00\00\00" "\30\00\00\00\00\00\00\00")
            (data (i32.const 48) "7"))"#
    ))
    .expect("valid text");
    let mut contract = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let (package, _) = contract.push_dir(&wit).expect("wit/ parses");
    let world = contract
        .select_world(&[package], Some("routing-policy"))
        .expect("a world of the contract");
    embed_component_metadata(&mut module, &contract, world, StringEncoding::UTF8)
        .expect("a module takes a section");
    module
}

/// A routing policy whose world's package refers to another one, and that one back to it: the
/// encoder would follow that for ever.
pub(super) fn circular() -> Vec<u8> {
    let mut bytes = policy("i32.const 16", "");
    let name = b"projectionist:plugin/routing@0.1.0";
    let at = bytes.windows(name.len()).rposition(|found| found == name);
    let at = at.expect("its metadata names the interface");
    bytes[at + "projecti".len()] = b'p';
    bytes
}

#[test]
fn packages_in_a_circle_are_refused_before_the_encoder_follows_them() {
    let error = examine(engine(), "orders.wasm", &circular()).expect_err("a refusal");
    assert_eq!(
        error.to_string(),
        "plugin \"orders.wasm\" has interfaces of several packages in its section \
         \"component-type\", projectionist:plugin@0.1.0 and projectipnist:plugin@0.1.0; build it \
         for a world of wit/plugin.wit, without imports and exports of others"
    );
}

#[test]
fn a_policy_that_behaves_is_taken() {
    let about = examine(engine(), "seven.wasm", &policy("i32.const 16", "")).expect("in order");
    assert_eq!((&*about.name, &*about.version), ("7", "7"));
}

#[test]
fn a_plugin_that_misbehaves_at_its_start_or_in_describe_is_refused_in_bounded_time() {
    let grow = "(loop (drop (memory.grow (i32.const 100))) (br 0)) unreachable";
    let cases = [
        (
            "a describe that loops",
            policy("(loop (br 0)) unreachable", ""),
            "cannot describe itself: ",
            "it ran for more than 3s",
        ),
        (
            "a start that loops",
            policy("i32.const 16", "(loop (br 0))"),
            "cannot start: ",
            "it ran for more than 3s",
        ),
        (
            "a describe that takes all memory",
            policy(grow, ""),
            "cannot describe itself: ",
            "of memory, and may have 512.0 MiB",
        ),
        (
            "a describe that traps",
            policy("unreachable", ""),
            "cannot describe itself: ",
            "`unreachable` instruction executed",
        ),
        (
            "an answer outside of its memory",
            policy("i32.const 0x7ffffff0", ""),
            "cannot describe itself: ",
            "out of bounds",
        ),
        (
            "an empty answer",
            policy("i32.const 256", ""),
            "describes itself wrongly: ",
            "its name \"\" is not a text",
        ),
    ];
    for (name, bytes, stage, reason) in cases {
        let start = Instant::now();
        let text = match examine(engine(), "orders.wasm", &bytes) {
            Err(error @ Error::Refused { .. }) => error.to_string(),
            other => panic!("{name}: {other:?}"),
        };
        assert!(
            text.contains(stage) && text.contains(reason),
            "{name}: {text}"
        );
        // The limit is 3 s; the rest is for a machine that is busy with other tests.
        assert!(start.elapsed() < Duration::from_secs(10), "{name}");
    }
}
