//! Turns a commit into the commands of its transaction.
//!
//! Guarantees:
//! - Nothing is upserted, whatever is missing.
//! - Deletes come first, then updates, then inserts, so that a value of a unique index is given up
//!   before another document takes it. Entries follow the documents. The checkpoints come last: a commit that has lost one of
//!   them is found out after its last write and before anything is stored.
//! - Every command fits in a message, and all of them in a transaction, or none is built.
//!
//! Not here: sending them, and reading their replies (`decision`).

use std::collections::BTreeMap;

use bson::raw::RawDocumentBuf;

use self::statement::{Collection, Kind, OVERHEAD_BYTES, Statement};
use crate::store::bson_writer::BsonWriter;
use crate::store::entry::EntryTooLarge;
use crate::store::{Advance, Commit};

mod statement;

/// The collection of all projections' progress.
pub const CHECKPOINTS: &str = "_checkpoints";

/// A command travels as one BSON document, of which a server takes 16 MiB and 16 KiB. The driver
/// adds the session and the cluster time to it.
const COMMAND_BYTES_MAX: usize = 15 * 1024 * 1024;

/// The server's `maxWriteBatchSize`.
const STATEMENTS_MAX: usize = 100_000;

/// A transaction is held in the server's cache until it ends; larger ones are aborted under load.
const TRANSACTION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One command of a transaction.
#[derive(Debug)]
pub struct Command {
    pub body: RawDocumentBuf,
    pub target: Target,
}

/// What the statements of a command are about, in their order.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// Indices into [`Commit::writes`].
    Documents(Vec<usize>),
    /// Indices into [`Commit::entries`].
    Entries(Vec<usize>),
    /// All of [`Commit::advances`].
    Checkpoints { count: usize },
}

/// The commit is more than the server takes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    #[error("it takes {bytes} bytes, and a transaction has at most {TRANSACTION_BYTES_MAX}")]
    Transaction { bytes: usize },
    #[error(transparent)]
    Entry(#[from] EntryTooLarge),
}

/// Builds the commands of a commit, in the order in which they must run.
pub fn build(commit: &Commit) -> Result<Vec<Command>, TooLarge> {
    for entry in commit.entries.iter().filter_map(|change| change.entry()) {
        entry.check_size()?;
    }
    let bytes = bytes_max(&commit.writes) + bytes_max(&commit.entries);
    // A single document of the largest size always fits.
    if bytes > TRANSACTION_BYTES_MAX {
        return Err(TooLarge::Transaction { bytes });
    }
    let mut commands = Vec::new();
    add_changes(&mut commands, &commit.writes, Target::Documents);
    add_changes(&mut commands, &commit.entries, Target::Entries);
    commands.push(Command {
        body: advance_command(&commit.advances),
        target: Target::Checkpoints {
            count: commit.advances.len(),
        },
    });
    Ok(commands)
}

impl Target {
    /// How many documents, entries or checkpoints the command's statements must find.
    pub fn statements(&self) -> usize {
        match self {
            Target::Documents(changes) | Target::Entries(changes) => changes.len(),
            Target::Checkpoints { count } => *count,
        }
    }
}

fn bytes_max(changes: &[impl Statement]) -> usize {
    changes.iter().map(Statement::bytes_max).sum()
}

/// Adds the commands of all changes of one sort.
fn add_changes<S: Statement>(
    commands: &mut Vec<Command>,
    changes: &[S],
    target: fn(Vec<usize>) -> Target,
) {
    let mut groups: BTreeMap<(Kind, Collection), Vec<usize>> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        let group = groups.entry((change.kind(), change.collection()));
        group.or_default().push(index);
    }
    for ((kind, collection), indices) in groups {
        for part in split(changes, indices) {
            commands.push(Command {
                body: change_command(kind, &collection.name(), changes, &part),
                target: target(part),
            });
        }
    }
}

/// Cuts the changes of one command where it would become too large.
fn split(changes: &[impl Statement], indices: Vec<usize>) -> Vec<Vec<usize>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut part_bytes = 0;
    for index in indices {
        let bytes = changes[index].bytes_max();
        let full = part.len() == STATEMENTS_MAX || part_bytes + bytes > COMMAND_BYTES_MAX;
        if full && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            part_bytes = 0;
        }
        part.push(index);
        part_bytes += bytes;
    }
    parts.push(part);
    parts
}

fn change_command<S: Statement>(
    kind: Kind,
    collection: &str,
    changes: &[S],
    part: &[usize],
) -> RawDocumentBuf {
    let part = part.iter().map(|&index| &changes[index]);
    let bytes: usize = part.clone().map(Statement::bytes_max).sum();
    let mut command = BsonWriter::with_capacity(bytes + OVERHEAD_BYTES);
    match kind {
        Kind::Delete => {
            command.string("delete", collection);
            command.documents("deletes", part, |statement, change| {
                statement.document("q", |query| change.query_into(query));
                statement.int32("limit", 1);
            });
        }
        Kind::Update => {
            command.string("update", collection);
            command.documents("updates", part, |statement, change| {
                statement.document("q", |query| change.query_into(query));
                statement.document("u", |document| change.document_into(document));
                statement.bool("upsert", false);
                statement.bool("multi", false);
            });
        }
        Kind::Insert => {
            command.string("insert", collection);
            command.documents("documents", part, |document, change| {
                change.document_into(document);
            });
        }
    }
    command.finish()
}

/// Moves the checkpoints that are still where their owner left them.
fn advance_command(advances: &[Advance]) -> RawDocumentBuf {
    let mut command = BsonWriter::with_capacity(advances.len() * OVERHEAD_BYTES);
    command.string("update", CHECKPOINTS);
    command.documents("updates", advances, |statement, advance| {
        statement.document("q", |query| {
            query.string("_id", &advance.checkpoint.to_string());
            query.int64("epoch", advance.epoch.0);
            query.int64("next", advance.from.0);
            query.int64("repairs", advance.repairs.from);
        });
        statement.document("u", |update| {
            update.document("$set", |set| {
                set.int64("next", advance.to.0);
                set.int64("repairs", advance.repairs.to);
                if let Some(topic) = advance.lineage.topic {
                    set.string("topic_id", &topic.to_string());
                }
                if let Some(last) = advance.lineage.last {
                    set.document("last", |record| {
                        record.int64("offset", last.offset.0);
                        record.int32("leader_epoch", last.epoch.0);
                    });
                }
            });
            if advance.lineage.last.is_none() {
                // What was there is of another position.
                update.document("$unset", |unset| unset.bool("last", true));
            }
        });
        statement.bool("upsert", false);
        statement.bool("multi", false);
    });
    command.finish()
}

#[cfg(test)]
mod tests;
