//! A batch in one transaction.
//!
//! Write transactions of one file follow one another, so whether the checkpoints are still the
//! caller's is settled first: a fenced host learns that it is fenced, whatever the documents are.
//! On any error the transaction is dropped, which rolls it back.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::error::Unwritten;
use super::{checkpoints, documents, entries, error};
use crate::store::{Advance, Commit, CommitError};

/// What the checkpoints say to a commit.
enum Standing {
    /// They are moved, and the documents and entries may follow.
    Moved,
    /// This very commit has been stored before.
    Stored,
    /// These are somebody else's, or elsewhere.
    Fenced(Vec<Advance>),
}

pub(super) fn commit(
    connection: &mut Connection,
    address: &str,
    commit: &Commit,
) -> Result<(), CommitError> {
    // Before the transaction: meanwhile, others of the file may write.
    let rows = documents::encode(address, &commit.writes)?;
    let changes = entries::encode(address, &commit.entries)?;
    let failed = |e| CommitError::Store(error::store(address, e));

    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    match advance(&transaction, &commit.advances).map_err(failed)? {
        Standing::Moved => {}
        Standing::Stored => return Ok(()),
        Standing::Fenced(advances) => {
            let checkpoints = advances.into_iter().map(|a| a.checkpoint).collect();
            return Err(CommitError::Fenced { checkpoints });
        }
    }
    documents::write(&transaction, &rows).map_err(|unwritten| match unwritten {
        Unwritten::Mismatch(write) => CommitError::Mismatch {
            view: write.view.clone(),
            id: write.id.clone(),
        },
        Unwritten::Rejected(write, e) => error::rejected_document(address, write, &e),
        Unwritten::Failed(e) => failed(e),
    })?;
    entries::write(&transaction, &changes).map_err(|unwritten| match unwritten {
        Unwritten::Mismatch(change) => CommitError::EntryMismatch {
            table: change.table(),
            id: Arc::clone(change.id()),
        },
        Unwritten::Rejected(change, e) => error::rejected_entry(address, change, &e),
        Unwritten::Failed(e) => failed(e),
    })?;
    transaction.commit().map_err(failed)
}

fn advance(transaction: &Transaction, advances: &[Advance]) -> rusqlite::Result<Standing> {
    let mut unmoved = Vec::new();
    for advance in advances {
        if !checkpoints::advance(transaction, advance)? {
            unmoved.push(advance);
        }
    }
    if unmoved.is_empty() {
        return Ok(Standing::Moved);
    }
    if unmoved.len() == advances.len() && all_done(transaction, advances)? {
        return Ok(Standing::Stored);
    }
    Ok(Standing::Fenced(unmoved.into_iter().cloned().collect()))
}

fn all_done(transaction: &Transaction, advances: &[Advance]) -> rusqlite::Result<bool> {
    for advance in advances {
        let found = checkpoints::read(transaction, &advance.checkpoint.to_string())?;
        if found != Some(advance.after()) {
            return Ok(false);
        }
    }
    Ok(true)
}
