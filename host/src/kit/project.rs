//! Writes the project that a plugin starts from: a fold that works, its tests, and all that it
//! takes to build it outside of this repository.
//!
//! No SDK is in a registry, so their sources come along, with the contract that they keep to.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

mod templates;

use templates::{CONTRACT, File, SDK, SDK_CHANGES};
use wit_component::{StringEncoding, metadata};
use wit_parser::Resolve;

/// Where the templates that need it look for it.
const ENCODED_CONTRACT: &str = "wit/projection-plugin.bin";

/// As long as a view's name may be: it is one.
const NAME_BYTES_MAX: usize = 64;

/// The languages that there is a template for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    Rust,
    /// JavaScript
    Js,
    Python,
    Go,
    C,
}

/// The policies that there is a template for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    Routing,
    Placement,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{0:?} cannot be a plugin's name; a name has 1 to {NAME_BYTES_MAX} of a-z, 0-9, \"_\" and \"-\", a letter first"
    )]
    Name(String),
    #[error("{} is there and not empty; give another name, or remove it", .0.display())]
    Occupied(PathBuf),
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Writes a new project into `parent/name` and gives that path.
///
/// # Errors
/// A name that no view could have, a folder that has something in it, or a file that cannot be
/// written.
pub fn create(parent: &Path, name: &str, language: Language) -> Result<PathBuf, Error> {
    let root = create_with(parent, name, files(name, language))?;
    if matches!(language, Language::Go | Language::C) {
        write(&root.join(ENCODED_CONTRACT), &encoded_contract())?;
    }
    Ok(root)
}

/// The same for a policy, in Rust.
///
/// # Errors
/// As [`create`].
pub fn create_policy(parent: &Path, name: &str, kind: PolicyKind) -> Result<PathBuf, Error> {
    create_with(parent, name, policy_files(name, kind))
}

fn create_with(parent: &Path, name: &str, files: Vec<Filled>) -> Result<PathBuf, Error> {
    check_name(name)?;
    let root = parent.join(name);
    check_free(&root)?;
    for (path, text) in files {
        write(&root.join(path), text.as_bytes())?;
    }
    Ok(root)
}

fn check_name(name: &str) -> Result<(), Error> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let goes_on_well = name
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if starts_well && goes_on_well && name.len() <= NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(Error::Name(name.to_owned()))
    }
}

fn check_free(root: &Path) -> Result<(), Error> {
    let is_free = match fs::read_dir(root) {
        Err(error) => error.kind() == ErrorKind::NotFound,
        Ok(mut entries) => entries.next().is_none(),
    };
    match is_free {
        true => Ok(()),
        false => Err(Error::Occupied(root.to_owned())),
    }
}

/// Path and text of a file, with the plugin's name in it.
type Filled = (&'static str, String);

fn files(name: &str, language: Language) -> Vec<Filled> {
    let mut files = fill(name, templates::of(language));
    if language == Language::Rust {
        files.extend(sdk());
    }
    files
}

fn policy_files(name: &str, kind: PolicyKind) -> Vec<Filled> {
    let mut files = fill(name, templates::of_policy(kind));
    files.extend(sdk());
    files
}

fn fill(name: &str, template: &[File]) -> Vec<Filled> {
    let file = name.replace('-', "_");
    let fill = |text: &str| text.replace("{{name}}", name).replace("{{file}}", &file);
    let filled = template.iter().map(|(path, text)| (*path, fill(text)));
    let contract = (CONTRACT.0, CONTRACT.1.to_owned());
    filled.chain([contract]).collect()
}

fn sdk() -> impl Iterator<Item = Filled> {
    SDK.into_iter().map(|(path, text)| {
        let change = |text: String, (old, new): &(&str, &str)| text.replace(old, new);
        let text = SDK_CHANGES.iter().fold(text.to_owned(), change);
        (path, text)
    })
}

/// The world of projections as a section of a module has it: a custom section "component-type"
/// with these bytes says which contract the module keeps to. Some languages have tools that make
/// it; the templates of the others put this one in.
fn encoded_contract() -> Vec<u8> {
    let mut resolve = Resolve::default();
    let encoded = resolve
        .push_str(CONTRACT.0, CONTRACT.1)
        .and_then(|package| resolve.select_world(&[package], Some("projection-plugin")))
        .and_then(|world| metadata::encode(&resolve, world, StringEncoding::UTF8, None));
    encoded.expect("the contract is this program's own")
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, content))
        .map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn a_project_has_all_that_its_sdk_needs() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = create(folder.path(), "card-payments", Language::Rust).expect("a project");
        let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);

        assert!(read("Cargo.toml").contains("name = \"card-payments\""));
        assert!(read("README.md").contains("release/card_payments.wasm"));
        assert_eq!(read("wit/plugin.wit"), CONTRACT.1);
        assert!(read("sdk/src/bindings.rs").contains("path: \"../wit\""));

        // Each module that a file names has come along, under the name of its file.
        let mut modules = 0;
        for (path, text) in SDK {
            let folder = match path {
                "sdk/src/lib.rs" => "sdk/src",
                path => path.strip_suffix(".rs").expect("a file of Rust"),
            };
            let text = text.replace(SDK_CHANGES[1].0, "");
            for line in text.lines() {
                let declared = line.trim_start_matches("pub ").strip_prefix("mod ");
                if let Some(module) = declared.and_then(|rest| rest.strip_suffix(';')) {
                    assert!(!read(&format!("{folder}/{module}.rs")).is_empty());
                    modules += 1;
                }
            }
        }
        assert_eq!(modules, SDK.len() - 1);
    }

    #[test]
    fn no_mark_of_the_template_is_left() {
        for language in Language::value_variants() {
            for (path, text) in files("orders", *language) {
                assert!(
                    !text.contains("{{name}}") && !text.contains("{{file}}"),
                    "{language:?}: {path}"
                );
            }
        }
        for kind in [PolicyKind::Routing, PolicyKind::Placement] {
            for (path, text) in policy_files("nearest", kind) {
                let is_filled = !text.contains("{{name}}") && !text.contains("{{file}}");
                assert!(is_filled, "{kind:?}: {path}");
            }
        }
    }

    /// Fixtures tell what rejects an event, which each language words for itself; what the fold
    /// comes to is the same in all.
    #[test]
    fn every_language_starts_from_the_same_fold() {
        let of = |language, file: &str| {
            let files = files("orders", language);
            let found = files.iter().find(|(path, _)| *path == file);
            found
                .unwrap_or_else(|| panic!("{language:?}: {file}"))
                .1
                .clone()
        };
        let documents = |language| {
            let text = of(language, "fixtures/payments.expected.json");
            let expected: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            expected["documents"].clone()
        };
        for language in Language::value_variants() {
            assert_eq!(
                of(*language, "fixtures/payments.events.jsonl"),
                of(Language::Rust, "fixtures/payments.events.jsonl")
            );
            assert_eq!(
                documents(*language),
                documents(Language::Rust),
                "{language:?}"
            );
            assert!(
                of(*language, "README.md").contains("plugin test"),
                "{language:?}"
            );
        }
    }

    #[test]
    fn the_contract_in_its_binary_form_has_what_a_projection_exports() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = create(folder.path(), "orders", Language::C).expect("a project");
        let bytes = fs::read(root.join(ENCODED_CONTRACT)).expect("a file");
        let (resolve, world) = wit_component::decode(&bytes)
            .map(|decoded| (decoded.resolve().clone(), decoded.package()))
            .map(|(resolve, package)| {
                let world = resolve.select_world(&[package], None).expect("one world");
                (resolve.clone(), world)
            })
            .expect("a component");
        let world = &resolve.worlds[world];
        assert_eq!((world.imports.len(), world.exports.len()), (3, 1));
    }

    /// The copy of the SDK must be built with what the SDK itself is tested with.
    #[test]
    fn the_sdks_dependencies_are_those_of_this_repository() {
        let parse = |text: &str| text.parse::<toml::Table>().expect("TOML");
        let copy = parse(include_str!("../../templates/rust/sdk/Cargo.toml"));
        let ours = parse(include_str!("../../../Cargo.toml"));
        let sdk = parse(include_str!("../../../plugins/sdk/Cargo.toml"));
        let wanted = sdk["dependencies"].as_table().expect("a table");
        let copied = copy["dependencies"].as_table().expect("a table");
        assert!(wanted.keys().eq(copied.keys()), "{copied}");
        for (name, dependency) in copied {
            assert_eq!(
                dependency, &ours["workspace"]["dependencies"][name],
                "{name}"
            );
        }
        for key in ["edition", "rust-version", "version", "license"] {
            assert_eq!(
                copy["package"][key], ours["workspace"]["package"][key],
                "{key}"
            );
        }
    }

    #[test]
    fn names_that_no_view_could_have_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = "a".repeat(65);
        for name in ["", "Orders", "1st", "a b", "../up", "_a", "é", &long] {
            let error = create(folder.path(), name, Language::Rust).expect_err(name);
            assert!(matches!(error, Error::Name(_)), "{name}: {error}");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mine = folder.path().join("orders");
        fs::create_dir(&mine).expect("a folder");
        create(folder.path(), "orders", Language::Rust).expect("an empty folder will do");
        fs::write(mine.join("src/lib.rs"), "mine").expect("a file");

        let error = create(folder.path(), "orders", Language::Rust).expect_err("occupied");
        assert!(matches!(error, Error::Occupied(_)), "{error}");
        let kept = fs::read_to_string(mine.join("src/lib.rs")).expect("a file");
        assert_eq!(kept, "mine");
    }
}
