//! Builds a plugin's project with the ordinary tools of its language.
//!
//! Nothing is installed: what is missing is named, with the command that gets it.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::SystemTime;

use super::project::Language;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{} is no plugin's project: it has none of {}; `projectionist plugin new` writes one",
        .0.display(), marks()
    )]
    Unknown(PathBuf),
    #[error("{what} is not installed; get it with `{command}`, in {}", folder.display())]
    Missing {
        what: String,
        command: &'static str,
        folder: PathBuf,
    },
    #[error("cannot start {tool}")]
    Start {
        tool: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "`{command}` failed in {} ({status}); what it needs stands in README.md there",
        folder.display()
    )]
    Failed {
        command: String,
        status: ExitStatus,
        folder: PathBuf,
    },
    #[error("the build made no .wasm file in {}", .0.display())]
    NoFile(PathBuf),
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The file that tells a project's language. A project in C or Python may have a package.json or
/// a Makefile besides, hence the order.
const MARKS: [(&str, Language); 5] = [
    ("Cargo.toml", Language::Rust),
    ("go.mod", Language::Go),
    ("projectionist.h", Language::C),
    ("projectionist.py", Language::Python),
    ("package.json", Language::Js),
];

fn marks() -> String {
    MARKS.map(|(file, _)| file).join(", ")
}

/// One call of a tool.
struct Call {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Gets the tool.
    install: &'static str,
    /// Where it leaves the .wasm file, seen from the project.
    output: &'static str,
}

/// Tells a project's language by its files.
///
/// # Errors
/// A folder that is no project.
pub fn language(folder: &Path) -> Result<Language, Error> {
    MARKS
        .iter()
        .find(|(file, _)| folder.join(file).is_file())
        .map(|(_, language)| *language)
        .ok_or_else(|| Error::Unknown(folder.to_owned()))
}

/// Builds the project and gives the path of the plugin. The tools print what they have to say.
///
/// # Errors
/// A folder that is no project, a tool that is missing or fails, or that makes nothing.
pub fn build(folder: &Path) -> Result<PathBuf, Error> {
    let call = call(folder, language(folder)?)?;
    let tool = call.program.display().to_string();
    let status = Command::new(&call.program)
        .args(&call.arguments)
        .current_dir(folder)
        .status()
        .map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::Missing {
                what: tool.clone(),
                command: call.install,
                folder: folder.to_owned(),
            },
            _ => Error::Start {
                tool: tool.clone(),
                source,
            },
        })?;
    if !status.success() {
        let words = call.arguments.iter().map(|word| word.to_string_lossy());
        let words: Vec<_> = std::iter::once(tool.into()).chain(words).collect();
        return Err(Error::Failed {
            command: words.join(" "),
            status,
            folder: folder.to_owned(),
        });
    }
    newest(&folder.join(call.output))
}

fn call(folder: &Path, language: Language) -> Result<Call, Error> {
    let call = match language {
        Language::Rust => Call {
            program: "cargo".into(),
            arguments: words("build --release --target wasm32-unknown-unknown --target-dir target"),
            install: "curl https://sh.rustup.rs -sSf | sh; rustup target add wasm32-unknown-unknown",
            output: "target/wasm32-unknown-unknown/release",
        },
        Language::Js => {
            if !folder.join("node_modules").is_dir() {
                return Err(Error::Missing {
                    what: "what package.json asks for".to_owned(),
                    command: "npm install",
                    folder: folder.to_owned(),
                });
            }
            Call {
                program: "npm".into(),
                arguments: words("run --silent build"),
                install: "apt-get install nodejs npm",
                output: "",
            }
        }
        Language::Python => python(folder)?,
        Language::Go => Call {
            program: "go".into(),
            arguments: words("run ./build"),
            install: "apt-get install golang",
            output: "",
        },
        Language::C => Call {
            program: "make".into(),
            arguments: words("--silent"),
            install: "apt-get install make clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32",
            output: "",
        },
    };
    Ok(call)
}

/// The tool of the project's own environment comes first.
fn python(folder: &Path) -> Result<Call, Error> {
    let absolute = folder.canonicalize().map_err(|source| Error::Read {
        path: folder.to_owned(),
        source,
    })?;
    let own = absolute.join(".venv/bin/componentize-py");
    let mut arguments = words("-d wit -w projection-plugin componentize --stub-wasi main -o");
    let name = absolute.file_name().unwrap_or(absolute.as_os_str());
    let name = name.to_string_lossy().replace('-', "_");
    arguments.push(format!("{name}.wasm").into());
    Ok(Call {
        program: match own.is_file() {
            true => own,
            false => "componentize-py".into(),
        },
        arguments,
        install: "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
        output: "",
    })
}

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(OsString::from).collect()
}

/// The .wasm file that was written last.
fn newest(folder: &Path) -> Result<PathBuf, Error> {
    let unreadable = |source| Error::Read {
        path: folder.to_owned(),
        source,
    };
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            let written = path.metadata().and_then(|data| data.modified());
            let found = (written.map_err(unreadable)?, path);
            if newest.as_ref().is_none_or(|newest| *newest < found) {
                newest = Some(found);
            }
        }
    }
    newest
        .map(|(_, path)| path)
        .ok_or_else(|| Error::NoFile(folder.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::kit::project;

    #[test]
    fn the_language_of_every_template_is_told_by_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        for (number, wanted) in Language::value_variants().iter().enumerate() {
            let root = project::create(folder.path(), &format!("p{number}"), *wanted);
            assert_eq!(language(&root.expect("a project")).expect("known"), *wanted);
        }
        let text = language(folder.path()).expect_err("no project").to_string();
        assert!(
            text.contains("go.mod") && text.contains("plugin new"),
            "{text}"
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_gets_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = project::create(folder.path(), "p", Language::Js).expect("a project");
        let text = build(&root).expect_err("nothing is installed").to_string();
        assert!(text.contains("`npm install`"), "{text}");
    }
}
