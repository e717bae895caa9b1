//! Decides what a commit does next: from what the server answered, never by asking it.
//!
//! ```text
//!   run ──all matched──> commit ──ok──> stored
//!    ^ │                   │ │
//!    │ └─contradicted      │ └─unknown, a few times──> commit again
//!    │        v            v
//!    │  read suspects > read checkpoints ──all at `to`──> stored
//!    │                     │        └──elsewhere──> fenced
//!    │               all at `from`
//!    │                     v
//!    └──all as expected── what was doubtful? ──a document, an entry──> mismatch
//!                          └──the commit──> unavailable
//! ```
//!
//! Guarantees:
//! - `Stored` only after the server confirmed the commit, or after the checkpoints were read where
//!   this very commit moves them.
//! - `Fenced` and a mismatch only after the checkpoints were read: a commit that had gone through
//!   before, unnoticed, contradicts its own documents and entries, and must not be taken for a
//!   failure. The documents or entries are read first. The other way around, a commit that goes
//!   through between the two would show in them alone.
//! - It ends: the numbers of runs and of repeated commits are bounded.
//!
//! Running again is safe whatever became of the run before, because the checkpoints move only
//! from `from`.
//!
//! Not here: I/O, and what an error is (`error`).

use std::time::Duration;

use bson::{Bson, Document};

use super::error::Class;
use crate::store::{Advance, Change, Claim, EntryChange, Guard, StoredDocument};

/// With the pauses below, about a second of conflicts.
const RUNS_MAX: u32 = 9;
/// Each takes as long as the write concern's time-out when a majority is missing.
const COMMITS_MAX: u32 = 2;

const PAUSE_MIN: Duration = Duration::from_millis(4);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What one command of a transaction came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// All its statements found their document.
    Matched,
    /// Some did not; the server does not say which.
    Short,
    /// The document of this statement exists already.
    Exists { statement: usize },
    /// The server refused this statement for what it would store.
    Rejected {
        statement: usize,
        code: i32,
        message: String,
    },
    /// No reply of a write command.
    Unreadable,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All commands ran and all their statements matched.
    Ran,
    /// A command ran into something that is not as the commit expects it; the transaction is
    /// aborted.
    Contradicted(Suspects),
    /// A command failed.
    RunFailed(Class),
    Committed,
    CommitFailed(Class),
    Checkpoints(Verdict),
    /// A document was found that is not as its write expects.
    DocumentDiffers,
    /// All documents are as their writes expect.
    DocumentsAgree,
    /// An entry was found, or found missing, that is not as its change expects.
    EntryDiffers,
    /// All entries are as their changes expect.
    EntriesAgree,
    /// What was to be read could not be read.
    LookFailed(Class),
}

/// What a contradiction may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspects {
    /// The checkpoints alone.
    Checkpoints,
    /// The documents of the command that did not match, and the checkpoints.
    Documents,
    /// The same of entries.
    Entries,
}

/// What the checkpoints say about a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The commit has gone through.
    Done,
    /// It has not, and may still.
    Standing,
    /// It never will; these advances' checkpoints (indices) are elsewhere.
    Lost(Vec<usize>),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run the whole transaction, up to the commit.
    Run {
        after: Duration,
    },
    /// Commit the transaction that has just been run.
    Commit {
        after: Duration,
    },
    ReadCheckpoints,
    ReadDocuments,
    ReadEntries,
    Finish(End),
}

/// How a commit ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Stored,
    /// Advances by index.
    Fenced(Vec<usize>),
    Mismatch,
    EntryMismatch,
    TooLarge,
    Refused,
    Unavailable,
}

/// One commit on its way.
#[derive(Debug)]
pub struct Progress {
    runs: u32,
    commits: u32,
    doubt: Doubt,
}

/// What became doubtful in the last run; the checkpoints are read to settle it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Whether the checkpoints are in place.
    Checkpoints,
    /// Whether a document that is not as its write expects is so by this very commit.
    Document,
    /// The same of an entry.
    Entry,
    /// Whether the commit was done.
    Commit,
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Progress {
    /// A commit of which nothing has been run.
    pub fn new() -> Self {
        Progress {
            runs: 0,
            commits: 0,
            doubt: Doubt::Checkpoints,
        }
    }

    /// The first step.
    pub fn start(&mut self) -> Step {
        self.runs = 1;
        Step::Run {
            after: Duration::ZERO,
        }
    }

    /// The step after `event`. `jitter` is a random number in [0, 1) that keeps two writers which
    /// got into each other's way from meeting again.
    pub fn next(&mut self, event: Event, jitter: f64) -> Step {
        match event {
            Event::Ran => {
                self.commits = 1;
                Step::Commit {
                    after: Duration::ZERO,
                }
            }
            // Even a duplicate key says nothing by itself: it may be this commit's own insert.
            Event::Contradicted(Suspects::Documents) => Step::ReadDocuments,
            Event::Contradicted(Suspects::Entries) => Step::ReadEntries,
            Event::Contradicted(Suspects::Checkpoints) => Step::ReadCheckpoints,
            Event::RunFailed(Class::Conflict | Class::Transient | Class::Interrupted) => {
                self.run_again(jitter)
            }
            // The server keeps nothing of a transaction that was not committed.
            Event::RunFailed(
                class @ (Class::Unknown | Class::Unavailable | Class::TooLarge | Class::Refused),
            ) => failed(class),

            Event::Committed => Step::Finish(End::Stored),
            // Nothing was committed, says the server. If it was, the next run is contradicted.
            Event::CommitFailed(Class::Conflict | Class::Transient) => self.run_again(jitter),
            Event::CommitFailed(Class::TooLarge) => failed(Class::TooLarge),
            Event::CommitFailed(Class::Unknown | Class::Interrupted)
                if self.commits < COMMITS_MAX =>
            {
                self.commits += 1;
                Step::Commit {
                    after: pause(self.commits, jitter),
                }
            }
            // Whatever else happened, the commit was sent and may have been done.
            Event::CommitFailed(
                Class::Unknown | Class::Interrupted | Class::Unavailable | Class::Refused,
            ) => {
                self.doubt = Doubt::Commit;
                Step::ReadCheckpoints
            }

            Event::Checkpoints(Verdict::Done) => Step::Finish(End::Stored),
            Event::Checkpoints(Verdict::Lost(advances)) => Step::Finish(End::Fenced(advances)),
            Event::Checkpoints(Verdict::Standing) => match self.doubt {
                Doubt::Document => Step::Finish(End::Mismatch),
                Doubt::Entry => Step::Finish(End::EntryMismatch),
                // A server that does not say what it did will hardly say it the next time.
                Doubt::Commit => Step::Finish(End::Unavailable),
                // Somebody's claim or write was on its way, and may have come to nothing.
                Doubt::Checkpoints => self.run_again(jitter),
            },
            Event::DocumentDiffers => {
                self.doubt = Doubt::Document;
                Step::ReadCheckpoints
            }
            Event::EntryDiffers => {
                self.doubt = Doubt::Entry;
                Step::ReadCheckpoints
            }
            Event::DocumentsAgree | Event::EntriesAgree => Step::ReadCheckpoints,
            Event::LookFailed(class) => failed(class),
        }
    }

    fn run_again(&mut self, jitter: f64) -> Step {
        if self.runs == RUNS_MAX {
            return Step::Finish(End::Unavailable);
        }
        self.runs += 1;
        self.doubt = Doubt::Checkpoints;
        Step::Run {
            after: pause(self.runs, jitter),
        }
    }
}

fn failed(class: Class) -> Step {
    Step::Finish(match class {
        Class::Refused => End::Refused,
        Class::TooLarge => End::TooLarge,
        Class::Conflict
        | Class::Transient
        | Class::Interrupted
        | Class::Unknown
        | Class::Unavailable => End::Unavailable,
    })
}

/// The pause before the `attempt`-th attempt (from 2 on): doubled each time, half of it random.
fn pause(attempt: u32, jitter: f64) -> Duration {
    let full = PAUSE_MIN
        .saturating_mul(1 << attempt.min(16))
        .min(PAUSE_MAX);
    full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

/// Compares the checkpoints with what a commit moves; `found` has one item per advance.
pub fn verdict(advances: &[Advance], found: &[Option<Claim>]) -> Verdict {
    assert_eq!(advances.len(), found.len(), "one checkpoint per advance");
    let all = || advances.iter().zip(found);
    let moves = advances.iter().any(Advance::moves);
    if moves && all().all(|(advance, found)| *found == Some(advance.after())) {
        return Verdict::Done;
    }
    let lost = all().enumerate();
    let lost = lost.filter(|(_, (advance, found))| **found != Some(advance.before()));
    let lost: Vec<usize> = lost.map(|(index, _)| index).collect();
    if lost.is_empty() {
        Verdict::Standing
    } else {
        Verdict::Lost(lost)
    }
}

/// True where a stored document is not as a change expects it.
pub fn differs(change: &Change, found: Option<&StoredDocument>) -> bool {
    match change {
        Change::Insert(_) => found.is_some(),
        Change::Update { guard, .. } | Change::Delete { guard } => match guard {
            Guard::SoleWriter => found.is_none(),
            Guard::Unchanged(before) => found.is_none_or(|document| document.provenance != *before),
        },
    }
}

/// True where an entry is not there where a change expects it, or is where it does not.
pub fn entry_differs(change: &EntryChange, exists: bool) -> bool {
    match change {
        EntryChange::Insert(_) => exists,
        EntryChange::Replace(_) | EntryChange::Remove { .. } => !exists,
    }
}

/// Reads the reply to a command with so many statements.
pub fn read_reply(reply: &Document, statements: usize) -> Reply {
    let error = match reply.get("writeErrors") {
        Some(Bson::Array(errors)) => errors.first(),
        _ => None,
    };
    if let Some(error) = error {
        return error
            .as_document()
            .and_then(read_write_error)
            .unwrap_or(Reply::Unreadable);
    }
    match whole_number(reply, "n") {
        Some(n) if usize::try_from(n) == Ok(statements) => Reply::Matched,
        Some(_) => Reply::Short,
        None => Reply::Unreadable,
    }
}

fn read_write_error(error: &Document) -> Option<Reply> {
    const DUPLICATE_KEY: i32 = 11000;

    let statement = usize::try_from(whole_number(error, "index")?).ok()?;
    let code = i32::try_from(whole_number(error, "code")?).ok()?;
    // A duplicate in any other index is one that a user has made, and stays whoever reads again.
    let index = error.get_document("keyPattern").ok();
    let of_id = index.is_some_and(|index| index.len() == 1 && index.contains_key("_id"));
    if code == DUPLICATE_KEY && of_id {
        return Some(Reply::Exists { statement });
    }
    Some(Reply::Rejected {
        statement,
        code,
        message: error.get_str("errmsg").unwrap_or_default().to_owned(),
    })
}

/// A server answers with 32 or 64 bits, a router at times with a double.
fn whole_number(document: &Document, key: &str) -> Option<i64> {
    match document.get(key)? {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) if number.fract() == 0.0 => Some(*number as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
