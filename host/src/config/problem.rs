//! What is wrong with a configuration, and where.
//!
//! Guarantee: a problem is one line, and never shows a text that came through `${}`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.report())]
pub struct Problems(Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub place: Place,
    /// The full key, `kafka.brokers`; `None` where the text is no TOML or cannot be read.
    pub key: Option<KeyPath>,
    /// What is wrong and the way out.
    pub message: String,
}

/// Where a key or a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    File(Arc<Path>),
    /// Line and column count from 1, the column in characters.
    Position {
        path: Arc<Path>,
        line: usize,
        column: usize,
    },
    /// The name of an environment variable.
    Variable(String),
}

/// The names that lead from the root to a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(pub Vec<String>);

impl Problems {
    /// Sorts by place: the file from top to bottom, then the environment.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        assert!(
            !problems.is_empty(),
            "a configuration without problems is no error"
        );
        problems.sort();
        Problems(problems)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    fn report(&self) -> String {
        let mut report = String::new();
        for problem in &self.0 {
            report.push_str(&format!("{problem}\n"));
        }
        report.push_str(&match self.0.len() {
            1 => "1 problem in the configuration".to_owned(),
            count => format!("{count} problems in the configuration"),
        });
        report
    }
}

impl KeyPath {
    pub(super) fn child(&self, name: &str) -> KeyPath {
        let mut names = self.0.clone();
        names.push(name.to_owned());
        KeyPath(names)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Position { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Place::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// As TOML has it: names that are more than letters, digits, `-` and `_` stand in quotes.
impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if !name.is_empty() && name.chars().all(bare) {
                f.write_str(name)?;
            } else {
                write!(f, "{name:?}")?;
            }
        }
        Ok(())
    }
}
