//! What commands print. The only place in the host that does.
//!
//! Guarantees: nothing of what is printed commands a terminal or forges a line, whoever wrote the
//! text ([`printable`]); what is printed as JSON reads as it was. A reader of standard output that
//! has gone (`| head`) ends the command quietly, with the code that the system gives such ends.
//!
//! On failure: what cannot be printed on standard output for another reason is an error. What
//! cannot be said on standard error is lost: there is nobody left to tell.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;

use crate::printable;
use crate::telemetry::logging;

/// As of a process that SIGPIPE has ended: 128 and the signal's number.
const READER_GONE: i32 = 141;

/// Prints a line, which may have tabs between its columns.
pub(super) fn print_line(line: &str) -> anyhow::Result<()> {
    print(&format!("{}\n", printable::columns(line)))
}

/// Prints lines.
pub(super) fn print_lines(text: &str) -> anyhow::Result<()> {
    print(&format!("{}\n", printable::lines(text)))
}

/// Prints JSON, laid out as it is.
pub(super) fn print_json(json: &str) -> anyhow::Result<()> {
    print(&format!("{}\n", printable::json(json)))
}

/// A part of the line's meaning that a terminal shows by its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Plain,
    Red,
    Green,
}

/// Prints a line, in colour where standard output is a terminal.
pub(super) fn print_coloured(colour: Colour, line: &str) -> anyhow::Result<()> {
    let line = printable::columns(line);
    let code = match colour {
        Colour::Plain => None,
        Colour::Red => Some(31),
        Colour::Green => Some(32),
    };
    match code.filter(|_| io::stdout().is_terminal()) {
        Some(code) => print(&format!("\u{1b}[{code}m{line}\u{1b}[0m\n")),
        None => print(&format!("{line}\n")),
    }
}

/// Says something to the user, beside what the command prints.
pub(super) fn say(text: &str) {
    let text = printable::lines(text);
    if !logging::say(&text) {
        // Whoever is to read it has gone.
        drop(io::stderr().write_all(format!("{text}\n").as_bytes()));
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            logging::flush();
            std::process::exit(READER_GONE)
        }
        result => result.context("cannot print"),
    }
}
