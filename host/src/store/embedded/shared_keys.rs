//! The mark of those whose events of one key are in several partitions.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS _shared_keys (writer TEXT PRIMARY KEY NOT NULL) STRICT, WITHOUT ROWID";

pub(super) fn is_marked(connection: &mut Connection, writer: &str) -> rusqlite::Result<bool> {
    connection.execute_batch(CREATE)?;
    let found = connection
        .prepare_cached("SELECT 1 FROM _shared_keys WHERE writer = ?1")?
        .query_row([writer], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// Leaves the mark, where there is none, and fences whoever owns a partition of this writer.
pub(super) fn mark(connection: &mut Connection, writer: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(CREATE)?;
    let marked = transaction.execute(
        "INSERT INTO _shared_keys (writer) VALUES (?1) ON CONFLICT DO NOTHING",
        [writer],
    )?;
    if marked > 0 {
        // A checkpoint's id is `writer/topic/partition`, and `0` comes after `/`.
        transaction.execute(
            "UPDATE _checkpoints SET epoch = epoch + 1 WHERE id > ?1 || '/' AND id < ?1 || '0'",
            [writer],
        )?;
    }
    transaction.commit()
}
