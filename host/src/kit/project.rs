//! Writes the project that a plugin starts from: a fold that works, its tests, and all that it
//! takes to build it outside of this repository.
//!
//! The SDK is not in a registry, so its sources come along, with the contract that they are
//! generated from.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// As long as a view's name may be: it is one.
const NAME_BYTES_MAX: usize = 64;

/// The languages that there is a template for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    Rust,
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

/// Path and text of each file of a template. `{{name}}` stands for the plugin's name, `{{file}}`
/// for that of the .wasm file without its end.
const RUST: [(&str, &str); 7] = [
    (
        "Cargo.toml",
        include_str!("../../templates/rust/Cargo.toml"),
    ),
    ("README.md", include_str!("../../templates/rust/README.md")),
    (".gitignore", "/target\n"),
    (
        "src/lib.rs",
        include_str!("../../templates/rust/src/lib.rs"),
    ),
    (
        "fixtures/payments.events.jsonl",
        include_str!("../../templates/rust/fixtures/payments.events.jsonl"),
    ),
    (
        "fixtures/payments.expected.json",
        include_str!("../../templates/rust/fixtures/payments.expected.json"),
    ),
    (
        "sdk/Cargo.toml",
        include_str!("../../templates/rust/sdk/Cargo.toml"),
    ),
];

const CONTRACT: (&str, &str) = ("wit/plugin.wit", include_str!("../../../wit/plugin.wit"));

macro_rules! sdk {
    ($($file:literal),*) => {
        [$((
            concat!("sdk/src/", $file),
            include_str!(concat!("../../../plugins/sdk/src/", $file)),
        )),*]
    };
}

/// The SDK without its own tests.
const SDK: [(&str, &str); 11] = sdk![
    "bindings.rs",
    "column.rs",
    "event.rs",
    "fold.rs",
    "guest.rs",
    "host.rs",
    "ids.rs",
    "lib.rs",
    "message.rs",
    "projection.rs",
    "testing.rs"
];

/// What differs in the SDK's copy: where the contract lies, and that its tests are not there.
const SDK_CHANGES: [(&str, &str); 2] = [
    ("path: \"../../wit\"", "path: \"../wit\""),
    ("#[cfg(test)]\nmod tests;\n", ""),
];

/// Writes a new project into `parent/name` and gives that path.
///
/// # Errors
/// A name that no view could have, a folder that has something in it, or a file that cannot be
/// written.
pub fn create(parent: &Path, name: &str, language: Language) -> Result<PathBuf, Error> {
    check_name(name)?;
    let root = parent.join(name);
    check_free(&root)?;
    for (path, text) in files(name, language) {
        write(&root.join(path), &text)?;
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

fn files(name: &str, language: Language) -> Vec<(&'static str, String)> {
    let file = name.replace('-', "_");
    let fill = |text: &str| text.replace("{{name}}", name).replace("{{file}}", &file);
    let mut files = match language {
        Language::Rust => {
            let mut files: Vec<_> = RUST.map(|(path, text)| (path, fill(text))).into();
            let copy = |(path, text): (&'static str, &str)| {
                let change = |text: String, (old, new): &(&str, &str)| text.replace(old, new);
                let text = SDK_CHANGES.iter().fold(text.to_owned(), change);
                (path, text)
            };
            files.extend(SDK.map(copy));
            files
        }
    };
    files.push((CONTRACT.0, CONTRACT.1.to_owned()));
    files
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
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
        let sdk = read("sdk/src/lib.rs");
        let modules = sdk.lines().filter_map(|line| {
            let module = line.trim_start_matches("pub ").strip_prefix("mod ")?;
            module.strip_suffix(';')
        });
        let modules: Vec<&str> = modules.collect();
        assert_eq!(modules.len(), SDK.len() - 1, "{modules:?}");
        for module in modules {
            assert!(!read(&format!("sdk/src/{module}.rs")).is_empty());
        }
    }

    #[test]
    fn no_mark_of_the_template_is_left() {
        for (path, text) in files("orders", Language::Rust) {
            assert!(
                !text.contains("{{name}}") && !text.contains("{{file}}"),
                "{path}"
            );
        }
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
