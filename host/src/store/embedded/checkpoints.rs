//! Progress of partitions: one row each, which claims and commits both write.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::record::{Epoch, NextOffset};
use crate::store::{Advance, Claim};

pub(super) fn claim(connection: &mut Connection, id: &str, owner: &str) -> rusqlite::Result<Claim> {
    // A transaction of its own: a claim that could not be stored must fail here, not on drop.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let claim = transaction
        .prepare_cached(
            "INSERT INTO _checkpoints (id, epoch, next, owner) VALUES (?1, 1, 0, ?2)
             ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1, owner = excluded.owner
             RETURNING epoch, next, repairs",
        )?
        .query_row([id, owner], to_claim)?;
    transaction.commit()?;
    Ok(claim)
}

pub(super) fn read(connection: &Connection, id: &str) -> rusqlite::Result<Option<Claim>> {
    connection
        .prepare_cached("SELECT epoch, next, repairs FROM _checkpoints WHERE id = ?1")?
        .query_row([id], to_claim)
        .optional()
}

/// Moves the checkpoint if it is the caller's and stands at `from`; answers whether it did.
pub(super) fn advance(transaction: &Transaction, advance: &Advance) -> rusqlite::Result<bool> {
    let moved = transaction
        .prepare_cached(
            "UPDATE _checkpoints SET next = ?1, repairs = ?2
             WHERE id = ?3 AND epoch = ?4 AND next = ?5 AND repairs = ?6",
        )?
        .execute(params![
            advance.to.0,
            advance.repairs.to,
            advance.checkpoint.to_string(),
            advance.epoch.0,
            advance.from.0,
            advance.repairs.from,
        ])?;
    Ok(moved == 1)
}

fn to_claim(row: &Row) -> rusqlite::Result<Claim> {
    Ok(Claim {
        epoch: Epoch(row.get(0)?),
        next: NextOffset(row.get(1)?),
        repairs: row.get(2)?,
    })
}
