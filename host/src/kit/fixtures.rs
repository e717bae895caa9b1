//! Cases in a folder: events, and what they should come to.
//!
//! | file | |
//! |---|---|
//! | `NAME.events.jsonl` | the events, as [`events`](super::events) has them |
//! | `NAME.config.json` | the projection's configuration; may be missing |
//! | `NAME.expected.json` | `documents` (by view and id), `messages` and `rejected`, each where there are any |

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use similar::TextDiff;

const EVENTS: &str = ".events.jsonl";

/// One case of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    folder: PathBuf,
    pub name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is no JSON", path.display())]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "{} has no case; a case has its events in NAME{EVENTS}, one JSON object a line",
        .0.display()
    )]
    Empty(PathBuf),
}

/// The cases of a folder, in the order of their names.
///
/// # Errors
/// A folder that cannot be read, or has no case: a test of nothing must not pass.
pub fn cases(folder: &Path) -> Result<Vec<Case>, Error> {
    let unreadable = |source| Error::Read {
        path: folder.to_owned(),
        source,
    };
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.file_name();
        if let Some(name) = file.to_str().and_then(|file| file.strip_suffix(EVENTS)) {
            cases.push(Case {
                folder: folder.to_owned(),
                name: name.to_owned(),
            });
        }
    }
    if cases.is_empty() {
        return Err(Error::Empty(folder.to_owned()));
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(cases)
}

impl Case {
    pub fn events_path(&self) -> PathBuf {
        self.path(EVENTS)
    }

    pub fn expected_path(&self) -> PathBuf {
        self.path(".expected.json")
    }

    /// # Errors
    /// A file that cannot be read.
    pub fn events(&self) -> Result<String, Error> {
        let path = self.events_path();
        fs::read_to_string(&path).map_err(|source| Error::Read { path, source })
    }

    /// An empty object where the case has none.
    ///
    /// # Errors
    /// A file that cannot be read, or is no JSON.
    pub fn config(&self) -> Result<Value, Error> {
        Ok(read_json(self.path(".config.json"))?.unwrap_or_else(|| json!({})))
    }

    /// `None` where it has not been said yet.
    ///
    /// # Errors
    /// A file that cannot be read, or is no JSON.
    pub fn expected(&self) -> Result<Option<Value>, Error> {
        read_json(self.expected_path())
    }

    /// Takes an outcome as what is expected from now on.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn accept(&self, outcome: &Value) -> Result<(), Error> {
        let path = self.expected_path();
        let text = format!("{outcome:#}\n");
        fs::write(&path, text).map_err(|source| Error::Write { path, source })
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}{suffix}", self.name))
    }
}

/// How an outcome departs from what was expected, line by line; `None` where it does not. The
/// order of fields and the layout of the text do not count.
pub fn difference(expected: &Value, outcome: &Value) -> Option<String> {
    difference_between(("expected", expected), ("folded", outcome))
}

/// The same for any two outcomes, each with its name.
pub fn difference_between(
    (one_name, one): (&str, &Value),
    (other_name, other): (&str, &Value),
) -> Option<String> {
    let (one, other) = (format!("{one:#}\n"), format!("{other:#}\n"));
    if one == other {
        return None;
    }
    let diff = TextDiff::from_lines(&one, &other);
    let unified = diff
        .unified_diff()
        .context_radius(3)
        .header(one_name, other_name)
        .to_string();
    Some(unified)
}

fn read_json(path: PathBuf) -> Result<Option<Value>, Error> {
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Read { path, source }),
    };
    match serde_json::from_slice(&text) {
        Ok(value) => Ok(Some(value)),
        Err(source) => Err(Error::Json { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_layout_nor_the_order_of_fields_is_a_difference() {
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": [2]}"#).expect("JSON");
        let other: Value = serde_json::from_str("{\"b\":[2],\n\"a\":1}").expect("JSON");
        assert_eq!(difference(&one, &other), None);
    }

    #[test]
    fn a_difference_shows_both_sides() {
        let one = json!({"documents": {"view": {"a": {"n": 1, "same": true}}}});
        let other = json!({"documents": {"view": {"a": {"n": 1.0, "same": true}}}});
        let text = difference(&one, &other).expect("they differ");
        assert!(text.contains("\n-        \"n\": 1,\n"), "{text}");
        assert!(text.contains("\n+        \"n\": 1.0,\n"), "{text}");
        assert!(text.contains("\n         \"same\": true\n"), "{text}");
    }
}
