//! The contract in `wit/`, and whether those who implement it still mean the same file.

use std::path::Path;

use projectionist_tests::guests::guest;
use wit_component::WitPrinter;
use wit_parser::{PackageId, Resolve};

/// Guests, and the interfaces that their kind of plugin can name.
const GUESTS: [(&str, &[&str]); 6] = [
    ("aircraft", PROJECTION),
    ("airports", PROJECTION),
    ("mirror", PROJECTION),
    ("misbehaving", PROJECTION),
    ("placement_first", &["host", "balancing", "placement"]),
    ("routing_first", &["host", "balancing", "routing"]),
];
const PROJECTION: &[&str] = &["columns", "documents", "host", "projection"];

fn contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let (package, _) = resolve.push_dir(&wit).expect("wit/ parses");
    (resolve, package)
}

#[test]
fn the_contract_has_a_world_for_each_kind_of_plugin() {
    let (resolve, package) = contract();
    let worlds: Vec<&str> = resolve.packages[package]
        .worlds
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        worlds,
        ["projection-plugin", "placement-policy", "routing-policy"]
    );
}

/// The text of an interface, without its comments.
fn interface(resolve: &Resolve, name: &str) -> String {
    let (id, _) = resolve
        .interfaces
        .iter()
        .find(|(_, interface)| interface.name.as_deref() == Some(name))
        .unwrap_or_else(|| panic!("no interface \"{name}\""));
    let mut printer = WitPrinter::default();
    printer.emit_docs(false);
    printer
        .print_interface(resolve, id)
        .expect("a resolved interface prints");
    printer.output.to_string()
}

#[test]
fn every_guest_is_built_from_the_contract() {
    let (contract, _) = contract();
    for (name, interfaces) in GUESTS {
        let (_, built) = wit_component::metadata::decode(&guest(name)).expect("metadata");
        for part in interfaces {
            assert_eq!(
                interface(&built.resolve, part),
                interface(&contract, part),
                "guest \"{name}\", interface \"{part}\""
            );
        }
    }
}
