//! Turns a commit into the commands of its transaction.
//!
//! Guarantees:
//! - Nothing is upserted, whatever is missing.
//! - Deletes come first, then updates, then inserts, so that a value of a unique index is given up
//!   before another document takes it. The checkpoints come last: a commit that has lost one of
//!   them is found out after its last write and before anything is stored.
//! - Every command fits in a message, and all of them in a transaction, or none is built.
//!
//! Not here: sending them, and reading their replies (`decision`).

use std::collections::BTreeMap;

use bson::raw::RawDocumentBuf;

use crate::store::bson_writer::BsonWriter;
use crate::store::envelope::{place_into, seal_into, sealed_bytes_max};
use crate::store::{Advance, Change, Commit, Guard, ViewId, Write};

/// The collection of all projections' progress.
pub(super) const CHECKPOINTS: &str = "_checkpoints";

/// A command travels as one BSON document, of which a server takes 16 MiB and 16 KiB. The driver
/// adds the session and the cluster time to it.
const COMMAND_BYTES_MAX: usize = 15 * 1024 * 1024;

/// The server's `maxWriteBatchSize`.
const STATEMENTS_MAX: usize = 100_000;

/// A transaction is held in the server's cache until it ends; larger ones are aborted under load.
const TRANSACTION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a statement takes besides documents and strings, rounded up.
const STATEMENT_OVERHEAD_BYTES: usize = 192;

/// One command of a transaction.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) body: RawDocumentBuf,
    pub(super) target: Target,
}

/// What the statements of a command are about, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Indices into [`Commit::writes`].
    Documents(Vec<usize>),
    /// All of [`Commit::advances`].
    Checkpoints { count: usize },
}

/// The commit is more than one transaction should hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it takes {bytes} bytes, and a transaction has at most {TRANSACTION_BYTES_MAX}")]
pub(super) struct TooLarge {
    bytes: usize,
}

/// In the order in which commands are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Delete,
    Update,
    Insert,
}

/// Builds the commands of a commit, in the order in which they must run.
pub(super) fn build(commit: &Commit) -> Result<Vec<Command>, TooLarge> {
    let bytes: usize = commit.writes.iter().map(statement_bytes_max).sum();
    // A single document of the largest size always fits.
    if bytes > TRANSACTION_BYTES_MAX {
        return Err(TooLarge { bytes });
    }
    let mut groups: BTreeMap<(Kind, &ViewId), Vec<usize>> = BTreeMap::new();
    for (index, write) in commit.writes.iter().enumerate() {
        let group = groups.entry((kind(write), &write.view)).or_default();
        group.push(index);
    }
    let mut commands = Vec::with_capacity(groups.len() + 1);
    for ((kind, view), indices) in groups {
        for part in split(&commit.writes, indices) {
            commands.push(Command {
                body: write_command(kind, view, &commit.writes, &part),
                target: Target::Documents(part),
            });
        }
    }
    commands.push(Command {
        body: advance_command(&commit.advances),
        target: Target::Checkpoints {
            count: commit.advances.len(),
        },
    });
    Ok(commands)
}

impl Target {
    /// How many documents or checkpoints the command's statements must find.
    pub(super) fn statements(&self) -> usize {
        match self {
            Target::Documents(writes) => writes.len(),
            Target::Checkpoints { count } => *count,
        }
    }
}

fn kind(write: &Write) -> Kind {
    match write.change {
        Change::Delete { .. } => Kind::Delete,
        Change::Update { .. } => Kind::Update,
        Change::Insert(_) => Kind::Insert,
    }
}

/// An upper bound for what a write takes in its command.
fn statement_bytes_max(write: &Write) -> usize {
    let query = |guard: &Guard| match guard {
        Guard::SoleWriter => write.id.len(),
        Guard::Unchanged(before) => {
            write.id.len() + before.partition.topic.len() + before.plugin.len()
        }
    };
    STATEMENT_OVERHEAD_BYTES
        + match &write.change {
            Change::Insert(document) => sealed_bytes_max(&write.id, document),
            Change::Update { document, guard } => {
                query(guard) + sealed_bytes_max(&write.id, document)
            }
            Change::Delete { guard } => query(guard),
        }
}

/// Cuts the writes of one command where it would become too large.
fn split(writes: &[Write], indices: Vec<usize>) -> Vec<Vec<usize>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut part_bytes = 0;
    for index in indices {
        let bytes = statement_bytes_max(&writes[index]);
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

fn write_command(kind: Kind, view: &ViewId, writes: &[Write], part: &[usize]) -> RawDocumentBuf {
    let part = part.iter().map(|&index| &writes[index]);
    let bytes: usize = part.clone().map(statement_bytes_max).sum();
    let mut command = BsonWriter::with_capacity(bytes + STATEMENT_OVERHEAD_BYTES);
    match kind {
        Kind::Delete => {
            command.string("delete", &view.collection());
            command.documents("deletes", part, |statement, write| {
                statement.document("q", |query| query_into(query, write));
                statement.int32("limit", 1);
            });
        }
        Kind::Update => {
            command.string("update", &view.collection());
            command.documents("updates", part, |statement, write| {
                statement.document("q", |query| query_into(query, write));
                statement.document("u", |document| document_into(document, write));
                statement.bool("upsert", false);
                statement.bool("multi", false);
            });
        }
        Kind::Insert => {
            command.string("insert", &view.collection());
            command.documents("documents", part, document_into);
        }
    }
    command.finish()
}

/// Writes the query that finds the document in the state that the write expects.
fn query_into(query: &mut BsonWriter, write: &Write) {
    query.string("_id", &write.id);
    match &write.change {
        Change::Insert(_) => {}
        Change::Update { guard, .. } | Change::Delete { guard } => match guard {
            Guard::SoleWriter => {}
            Guard::Unchanged(before) => {
                query.int64("_m.rev", before.revision);
                query.document("_m.at", |at| place_into(at, before));
                query.string("_m.plugin", &before.plugin);
            }
        },
    }
}

fn document_into(document: &mut BsonWriter, write: &Write) {
    match &write.change {
        Change::Insert(stored)
        | Change::Update {
            document: stored, ..
        } => seal_into(document, &write.id, stored),
        Change::Delete { .. } => {}
    }
}

/// Moves the checkpoints that are still where their owner left them.
fn advance_command(advances: &[Advance]) -> RawDocumentBuf {
    let mut command = BsonWriter::with_capacity(advances.len() * STATEMENT_OVERHEAD_BYTES);
    command.string("update", CHECKPOINTS);
    command.documents("updates", advances, |statement, advance| {
        statement.document("q", |query| {
            query.string("_id", &advance.checkpoint.to_string());
            query.int64("epoch", advance.epoch.0);
            query.int64("next", advance.from.0);
        });
        statement.document("u", |update| {
            update.document("$set", |set| set.int64("next", advance.to.0));
        });
        statement.bool("upsert", false);
        statement.bool("multi", false);
    });
    command.finish()
}

#[cfg(test)]
mod tests;
