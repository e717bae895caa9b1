//! Files that are no plugin of this host. The engine's own tests (`plugin_engine`) have those that
//! concern projections; here are the worlds, the versions and the types.

use std::io::Write as _;

use projectionist::plugin::{Error, MODULE_BYTES_MAX, examine, read_file};
use projectionist_tests::guests::{guest, path};

use super::engine;

fn refusal(bytes: &[u8]) -> String {
    match examine(engine(), "orders.wasm", bytes) {
        Err(error @ Error::Refused { .. }) => error.to_string(),
        Err(other) => panic!("not a refusal: {other}"),
        Ok(about) => panic!("it was taken as {about:?}"),
    }
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid text")
}

/// A component that exports instances of these interfaces with nothing in them.
pub(super) fn hollow(interfaces: &[&str], imports: &[&str]) -> Vec<u8> {
    let import = |name: &&str| format!(r#"(import "{name}" (instance))"#);
    let export = |name: &&str| format!(r#"(export "{name}" (instance $i))"#);
    let imports: String = imports.iter().map(import).collect();
    let exports: String = interfaces.iter().map(export).collect();
    wat(&format!("(component {imports} (instance $i) {exports})"))
}

#[test]
fn a_component_is_of_one_world_and_of_this_version() {
    let projection = "projectionist:plugin/projection@0.1.0";
    let placement = "projectionist:plugin/placement@0.1.0";
    let routing = "projectionist:plugin/routing@0.1.0";
    let documents = "projectionist:plugin/documents@0.1.0";
    let cases: [(&str, Vec<u8>, &str); 8] = [
        (
            "two worlds",
            hollow(&[projection, routing], &[]),
            "exports both projectionist:plugin/projection@0.1.0 and projectionist:plugin/routing@0.1.0; a plugin is one of them",
        ),
        (
            "a newer export",
            hollow(&["projectionist:plugin/placement@0.2.0"], &[]),
            "exports projectionist:plugin/placement@0.2.0, and this host speaks version 0.1.x",
        ),
        (
            "a newer import",
            hollow(&[routing], &["projectionist:plugin/host@1.0.0"]),
            "imports projectionist:plugin/host@1.0.0, and this host speaks version 0.1.x",
        ),
        (
            "an unknown import",
            hollow(&[projection], &["acme:db/sql@1.0.0"]),
            "imports acme:db/sql@1.0.0, which this host does not offer; plugins may import \"host\" and \"documents\"",
        ),
        (
            "a policy that reads documents",
            hollow(&[placement], &[documents]),
            "is a placement policy and imports projectionist:plugin/documents@0.1.0, which projections alone may",
        ),
        (
            "a hollow projection",
            hollow(&[projection], &[]),
            "does not fit the contract: ",
        ),
        (
            "a hollow placement policy",
            hollow(&[placement], &[]),
            "does not fit the contract: ",
        ),
        (
            "a hollow routing policy",
            hollow(&[routing], &[]),
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

/// A routing policy, all of whose functions take nothing and answer what `result` says.
fn mistyped(core_result: &str, body: &str, result: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            (core module $m (func (export "f") {core_result} {body}))
            (core instance $i (instantiate $m))
            (func $f {result} (canon lift (core func $i "f")))
            (instance $plugin
                (export "describe" (func $f))
                (export "configure" (func $f))
                (export "pick" (func $f))
                (export "observe" (func $f)))
            (export "projectionist:plugin/routing@0.1.0" (instance $plugin)))"#
    ))
}

#[test]
fn an_export_of_the_wrong_type_is_refused() {
    for bytes in [
        mistyped("", "", ""),
        mistyped("(result i32)", "(i32.const 1)", "(result u32)"),
    ] {
        let text = refusal(&bytes);
        let expected = "does not fit the contract: a function that it exports has not the types of \
                        wit/plugin.wit: expected ";
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_file_of_a_gigabyte_is_refused_by_its_size_without_being_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let large = directory.path().join("large.wasm");
    let file = std::fs::File::create(&large).expect("a new file");
    // Sparse: it takes no room on the disk.
    file.set_len(1 << 30).expect("its length");
    let text = refused_file(&large);
    assert_eq!(
        text,
        "plugin \"large.wasm\" has 1.0 GiB, and this host takes at most 64.0 MiB; build it without \
         debug information (strip = true)"
    );
}

#[test]
fn a_file_that_has_no_end_is_refused_by_its_size() {
    let text = refused_file("/dev/zero".as_ref());
    assert!(text.contains("\"zero\" has more than 64.0 MiB"), "{text}");
}

fn refused_file(path: &std::path::Path) -> String {
    match read_file(path) {
        Err(error) => error.to_string(),
        Ok(bytes) => panic!("{} bytes were read", bytes.len()),
    }
}

#[test]
fn a_file_within_the_limit_is_read_whole_and_one_that_is_missing_is_named() {
    assert_eq!(
        read_file(&path("misbehaving")).expect("a readable file"),
        guest("misbehaving")
    );
    let directory = tempfile::tempdir().expect("a temporary directory");
    let full = directory.path().join("full.wasm");
    let mut file = std::fs::File::create(&full).expect("a new file");
    file.write_all(&vec![0; MODULE_BYTES_MAX])
        .expect("space on the disk");
    assert_eq!(
        read_file(&full).expect("just within").len(),
        MODULE_BYTES_MAX
    );
    let text = refused_file(&directory.path().join("absent.wasm"));
    assert!(
        text.contains("cannot read plugin ") && text.contains("absent.wasm"),
        "{text}"
    );
}
