//! Holds a component's imports and exports against `wit/plugin.wit`, by their names.
//!
//! Done before the component is compiled, and so that the message names the offender. That the
//! types behind the names fit too is the engine's check, when it links.

use wasmparser::{ComponentExternalKind, Parser, Payload};

use super::error::Problem;
use super::kind::Kind;
use super::wasi;

pub(super) const VERSION: &str = "0.1";
pub(super) const OFFERED: &str = "\"host\" and \"documents\" of projectionist:plugin@0.1.x";

/// Our package, as it stands in the names of interfaces.
const PACKAGE: &str = "projectionist:plugin/";

/// What some plugin may import. `columns` and `balancing` have types only, so importing them gives
/// nothing to call.
const IMPORTS: [&str; 4] = ["host", "documents", "columns", "balancing"];

/// Of these, what belongs to projections alone.
const IMPORTS_OF_PROJECTIONS: [&str; 2] = ["documents", "columns"];

/// Checks a component's bytes, which must be valid, and tells what it is for.
pub(super) fn check(component: &[u8]) -> Result<Kind, Problem> {
    let (imports, exports) = names(component)?;
    imports.iter().copied().try_for_each(check_import)?;
    let kind = check_exports(&exports)?;
    let imports_of_projections = |name: &&str| {
        ours(name).is_some_and(|(interface, _)| IMPORTS_OF_PROJECTIONS.contains(&interface))
    };
    match (kind, imports.into_iter().find(imports_of_projections)) {
        (Kind::Placement | Kind::Routing, Some(name)) => {
            Err(Problem::ImportOfPolicy(kind, name.to_owned()))
        }
        (Kind::Projection, _) | (_, None) => Ok(kind),
    }
}

/// Checks what a component imports by its name.
pub(super) fn check_import(name: &str) -> Result<(), Problem> {
    if name.starts_with("wasi:") {
        return Err(Problem::Wasi(name.to_owned()));
    }
    if name == wasi::STDIO {
        return Ok(());
    }
    match ours(name) {
        Some((interface, version)) if IMPORTS.contains(&interface) => {
            check_version("imports", name, version)
        }
        Some(_) | None => Err(Problem::Import(name.to_owned())),
    }
}

fn check_exports(names: &[&str]) -> Result<Kind, Problem> {
    // Other exports have no meaning here: componentize-py adds one named "exports".
    let known: Vec<(&str, Kind, &str)> = names
        .iter()
        .filter_map(|&name| {
            let (interface, version) = ours(name)?;
            Some((name, Kind::of_interface(interface)?, version))
        })
        .collect();
    match known.as_slice() {
        [] => Err(Problem::NoPlugin { found: list(names) }),
        [(name, kind, version)] => check_version("exports", name, version).map(|()| *kind),
        [(one, ..), (other, ..), ..] => {
            Err(Problem::Ambiguous((*one).to_owned(), (*other).to_owned()))
        }
    }
}

/// Splits `projectionist:plugin/host@0.1.0` into interface and version.
fn ours(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

fn check_version(does: &'static str, name: &str, version: &str) -> Result<(), Problem> {
    let patch = version
        .strip_prefix(VERSION)
        .and_then(|rest| rest.strip_prefix('.'));
    match patch {
        Some(_) => Ok(()),
        None => Err(Problem::Version {
            does,
            name: name.to_owned(),
        }),
    }
}

/// The names that the outermost component imports (types aside) and exports.
fn names(component: &[u8]) -> Result<(Vec<&str>, Vec<&str>), Problem> {
    let invalid = |error: wasmparser::BinaryReaderError| Problem::Invalid(error.to_string());
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(invalid)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(invalid)?.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    if export.kind != ComponentExternalKind::Type {
                        exports.push(export.name.name);
                    }
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_told_apart_by_name() {
        let cases = [
            ("projectionist:plugin/host@0.1.0", None),
            ("projectionist:plugin/documents@0.1.7", None),
            ("projectionist:plugin/columns@0.1.0", None),
            ("projectionist:plugin/balancing@0.1.0", None),
            ("projectionist:wasi/stdio", None),
            ("projectionist:wasi/files", Some("does not offer")),
            ("projectionist:plugin/host@0.2.0", Some("version 0.1.x")),
            ("projectionist:plugin/host@0.11.0", Some("version 0.1.x")),
            ("projectionist:plugin/host", Some("version 0.1.x")),
            ("projectionist:plugin/secrets@0.1.0", Some("does not offer")),
            ("other:plugin/host@0.1.0", Some("does not offer")),
            ("wasi:sockets/tcp@0.2.0", Some("offers no WASI")),
            ("log", Some("does not offer")),
        ];
        for (name, expected) in cases {
            match (check_import(name), expected) {
                (Ok(()), None) => {}
                (Err(problem), Some(part)) => {
                    let text = problem.to_string();
                    assert!(text.contains(part) && text.contains(name), "{name}: {text}");
                }
                (result, _) => panic!("{name}: {result:?}"),
            }
        }
    }

    #[test]
    fn exports_must_be_those_of_one_plugin_and_tell_its_kind() {
        let projection = "projectionist:plugin/projection@0.1.0";
        let routing = "projectionist:plugin/routing@0.1.0";
        let placement = "projectionist:plugin/placement@0.1.3";
        assert_eq!(check_exports(&[projection]), Ok(Kind::Projection));
        assert_eq!(
            check_exports(&["exports", projection]),
            Ok(Kind::Projection)
        );
        assert_eq!(check_exports(&[placement]), Ok(Kind::Placement));
        assert_eq!(check_exports(&[routing]), Ok(Kind::Routing));
        let cases: [(&[&str], &str); 4] = [
            (&[], "exports nothing, and not"),
            (
                &["wasi:http/handler@0.2.0", "run"],
                "wasi:http/handler@0.2.0, run",
            ),
            (&[projection, routing], "both"),
            (&["projectionist:plugin/projection@1.0.0"], "version 0.1.x"),
        ];
        for (names, part) in cases {
            let text = check_exports(names).expect_err(part).to_string();
            assert!(text.contains(part), "{names:?}: {text}");
        }
    }
}
