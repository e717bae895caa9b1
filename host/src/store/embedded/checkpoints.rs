//! Progress of partitions: one row each, which claims and commits both write.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::record::{Epoch, LastRecord, LeaderEpoch, Lineage, NextOffset, Offset, TopicId};
use crate::store::{Advance, Claim};

pub(super) fn claim(
    connection: &mut Connection,
    id: &str,
    owner: &str,
    start: NextOffset,
) -> rusqlite::Result<Claim> {
    // A transaction of its own: a claim that could not be stored must fail here, not on drop.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let claim = transaction
        .prepare_cached(
            "INSERT INTO _checkpoints (id, epoch, next, owner) VALUES (?1, 1, ?3, ?2)
             ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1, owner = excluded.owner
             RETURNING epoch, next, repairs",
        )?
        .query_row(params![id, owner, start.0], to_claim)?;
    transaction.commit()?;
    Ok(claim)
}

pub(super) fn read(connection: &Connection, id: &str) -> rusqlite::Result<Option<Claim>> {
    connection
        .prepare_cached("SELECT epoch, next, repairs FROM _checkpoints WHERE id = ?1")?
        .query_row([id], to_claim)
        .optional()
}

pub(super) fn lineage(connection: &Connection, id: &str) -> rusqlite::Result<Lineage> {
    let select = "SELECT topic_id, last_offset, leader_epoch FROM _checkpoints WHERE id = ?1";
    let lineage = connection
        .prepare_cached(select)?
        .query_row([id], to_lineage)
        .optional()?;
    Ok(lineage.unwrap_or_default())
}

/// Moves the checkpoint if it is the caller's and stands at `from`; answers whether it did.
pub(super) fn advance(transaction: &Transaction, advance: &Advance) -> rusqlite::Result<bool> {
    let moved = transaction
        .prepare_cached(
            "UPDATE _checkpoints SET next = ?1, repairs = ?2,
                 topic_id = coalesce(?7, topic_id), last_offset = ?8, leader_epoch = ?9
             WHERE id = ?3 AND epoch = ?4 AND next = ?5 AND repairs = ?6",
        )?
        .execute(params![
            advance.to.0,
            advance.repairs.to,
            advance.checkpoint.to_string(),
            advance.epoch.0,
            advance.from.0,
            advance.repairs.from,
            advance.lineage.topic.map(|topic| topic.to_string()),
            advance.lineage.last.map(|last| last.offset.0),
            advance.lineage.last.map(|last| last.epoch.0),
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

fn to_lineage(row: &Row) -> rusqlite::Result<Lineage> {
    let topic: Option<String> = row.get(0)?;
    let (offset, epoch): (Option<i64>, Option<i32>) = (row.get(1)?, row.get(2)?);
    let last = offset.zip(epoch).map(|(offset, epoch)| LastRecord {
        offset: Offset(offset),
        epoch: LeaderEpoch(epoch),
    });
    Ok(Lineage {
        topic: topic.as_deref().and_then(TopicId::parse),
        last,
    })
}
