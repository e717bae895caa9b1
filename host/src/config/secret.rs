//! Texts that must not be seen in logs, messages and printed configurations.

use std::fmt;

/// What stands for a secret wherever one would be shown.
pub const REDACTED: &str = "[redacted]";

/// A text that may be a secret, and then hides itself in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    hidden: bool,
}

impl Secret {
    /// A text that is shown to nobody.
    pub fn hidden(text: impl Into<String>) -> Self {
        Secret {
            text: text.into(),
            hidden: true,
        }
    }

    /// A text that anybody may see.
    pub fn open(text: impl Into<String>) -> Self {
        Secret {
            text: text.into(),
            hidden: false,
        }
    }

    /// The text itself, for whom it is meant: never for a log or a message.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// True where nobody may see the text.
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// The text, or [`REDACTED`].
    pub fn shown(&self) -> &str {
        if self.hidden { REDACTED } else { &self.text }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().fmt(f)
    }
}
