//! Texts of others, as a line of a log or of a terminal may show them.
//!
//! What events, plugins, readers and stores bring may hold line breaks, escape sequences and marks
//! that turn the direction of writing: a line forged in a log, a command to the terminal, a word
//! that reads as another one. Here each such character becomes a visible one.
//!
//! Guarantee: what comes out of [`line`] has none of them; what comes out of [`columns`] and
//! [`lines`] only the tabs and line breaks that our own outputs are laid out by. [`json`] changes
//! how a JSON text is written, never what it says.
//!
//! Not here: who prints (`telemetry::logging`, `cli::output`), which apply this to everything.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Shows a value of others in a line of ours.
pub(crate) struct Printable<T>(pub T);

/// True for characters that are seen as something else than themselves, or not at all: controls,
/// separators of lines, marks of direction, tags.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line without any hidden character: for a text of others.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_hidden)
}

/// One line that may have tabs between its columns.
pub(crate) fn columns(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\t' && is_hidden(c))
}

/// Lines, with tabs between their columns.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\t' && c != '\n' && is_hidden(c))
}

/// The same JSON, with hidden characters written as `\u`. Those that lay the text out stay.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    // A writer of JSON escapes them in its strings, so these stand between tokens.
    let lays_out = |c| matches!(c, '\n' | '\r' | '\t');
    replace(
        text,
        |c| !lays_out(c) && is_hidden(c),
        |written, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                _ = write!(written, "\\u{unit:04x}");
            }
        },
    )
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    replace(text, is_escaped, |written, c| match c {
        '\n' => written.push_str("\\n"),
        '\r' => written.push_str("\\r"),
        '\t' => written.push_str("\\t"),
        c => written.extend(c.escape_unicode()),
    })
}

fn replace(
    text: &str,
    is_replaced: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.contains(&is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_replaced(c) {
            true => write(&mut written, c),
            false => written.push(c),
        }
    }
    Cow::Owned(written)
}

impl<T: fmt::Display> fmt::Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(&self.0.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_hidden_is_made_visible_and_nothing_else() {
        let cases = [
            ("plain", "plain", "plain"),
            ("letters of others", "Größe 長さ 🎉", "Größe 長さ 🎉"),
            ("line breaks", "a\nb\r\nc", "a\\nb\\r\\nc"),
            ("tab", "a\tb", "a\\tb"),
            ("colour", "\u{1b}[31mred", "\\u{1b}[31mred"),
            (
                "clipboard (OSC 52)",
                "\u{1b}]52;c;cm0=\u{7}",
                "\\u{1b}]52;c;cm0=\\u{7}",
            ),
            ("C1", "\u{9b}2J", "\\u{9b}2J"),
            (
                "separators of lines",
                "a\u{2028}b\u{2029}c\u{85}d",
                "a\\u{2028}b\\u{2029}c\\u{85}d",
            ),
            (
                "direction",
                "\u{202e}gpj.exe\u{2066}",
                "\\u{202e}gpj.exe\\u{2066}",
            ),
            ("tags", "\u{e0041}", "\\u{e0041}"),
        ];
        for (name, text, expected) in cases {
            assert_eq!(line(text), expected, "{name}");
            assert_eq!(Printable(text).to_string(), expected, "{name}");
        }
    }

    #[test]
    fn our_own_layout_stays() {
        assert_eq!(columns("a\tb\nc\u{1b}"), "a\tb\\nc\\u{1b}");
        assert_eq!(lines("a\tb\nc\u{1b}"), "a\tb\nc\\u{1b}");
    }

    proptest! {
        #[test]
        fn no_line_has_a_hidden_character(text in any::<String>()) {
            prop_assert!(!line(&text).contains(is_hidden));
            prop_assert!(!columns(&text).replace('\t', "").contains(is_hidden));
            prop_assert!(!lines(&text).replace(['\t', '\n'], "").contains(is_hidden));
        }

        #[test]
        fn json_says_what_it_said(text in "[a-z\u{7f}-\u{9f}\u{2028}-\u{202e}\u{e0001}\n\"\\\\]*") {
            let value = serde_json::json!({ &text: [&text] });
            for written in [value.to_string(), format!("{value:#}")] {
                let shown = json(&written);
                prop_assert!(!shown.replace('\n', "").contains(is_hidden));
                let read: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
                prop_assert_eq!(&read, &value);
            }
        }
    }
}
