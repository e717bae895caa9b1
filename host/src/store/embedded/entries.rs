//! Entries as rows, one table for each reserved [`Table`]: BSON is what counts, JSON is for
//! readers with tools of their own.

use std::sync::Arc;

use bson::raw::RawDocumentBuf;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::documents::Json;
use super::error::{self, Unwritten};
use crate::document;
use crate::store::entry::{IdRange, Start};
use crate::store::{CommitError, Entry, EntryChange, Error, Table};

/// As much as MongoDB puts in one batch.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A change with its entry's JSON.
pub(super) struct EncodedChange<'a> {
    change: &'a EntryChange,
    json: Json,
}

/// Renders the entries' JSON.
pub(super) fn encode<'a>(
    address: &str,
    changes: &'a [EntryChange],
) -> Result<Vec<EncodedChange<'a>>, CommitError> {
    let encode_one = |change: &'a EntryChange| {
        let json = match change.entry() {
            Some(entry) => {
                let size = entry.check_size();
                size.map_err(|too_large| CommitError::TooLarge(Box::new(too_large)))?;
                document::to_json(&entry.body)
                    .map(Json)
                    .map_err(|error| error::no_json_change(address, change, &error))?
            }
            None => Json::default(),
        };
        Ok(EncodedChange { change, json })
    };
    changes.iter().map(encode_one).collect()
}

/// Changes entries, up to the first that cannot be; answers which that is, and why.
pub(super) fn write<'a>(
    transaction: &Transaction,
    changes: &[EncodedChange<'a>],
) -> Result<(), Unwritten<&'a EntryChange>> {
    for EncodedChange { change, json } in changes {
        match write_one(transaction, change, json) {
            Ok(1) => {}
            Ok(_) => return Err(Unwritten::Mismatch(change)),
            Err(error) => return Err(Unwritten::of(error, change)),
        }
    }
    Ok(())
}

/// Answers how many rows were changed.
fn write_one(
    transaction: &Transaction,
    change: &EntryChange,
    json: &Json,
) -> rusqlite::Result<usize> {
    let table = change.table();
    match change {
        EntryChange::Insert(entry) => {
            let insert = format!(
                "INSERT INTO {table} (id, json, bson) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO NOTHING"
            );
            let mut insert = transaction.prepare_cached(&insert)?;
            insert.execute((&entry.id, json, entry.body.as_bytes()))
        }
        EntryChange::Replace(entry) => {
            let update = format!("UPDATE {table} SET json = ?2, bson = ?3 WHERE id = ?1");
            let mut update = transaction.prepare_cached(&update)?;
            update.execute((&entry.id, json, entry.body.as_bytes()))
        }
        EntryChange::Remove { id, .. } => remove_one(transaction, table, id),
    }
}

/// Inserts an entry or replaces it.
pub(super) fn put(connection: &mut Connection, address: &str, entry: &Entry) -> Result<(), Error> {
    let size = entry.check_size();
    size.map_err(|too_large| error::entry_too_large(address, &too_large))?;
    let json = to_json(address, entry)?;
    let put = format!(
        "INSERT INTO {} (id, json, bson) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET json = excluded.json, bson = excluded.bson",
        entry.table
    );
    in_transaction(connection, |transaction| {
        let mut put = transaction.prepare_cached(&put)?;
        put.execute((&entry.id, &json, entry.body.as_bytes()))
            .map(drop)
    })
    .map_err(|e| error::store(address, e))
}

/// Inserts an entry unless there is one with its id. True where the one that is there is the same.
pub(super) fn add(
    connection: &mut Connection,
    address: &str,
    entry: &Entry,
) -> Result<bool, Error> {
    let size = entry.check_size();
    size.map_err(|too_large| error::entry_too_large(address, &too_large))?;
    let json = to_json(address, entry)?;
    let table = entry.table;
    in_transaction(connection, |transaction| {
        let mut insert = transaction.prepare_cached(&format!(
            "INSERT INTO {table} (id, json, bson) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING"
        ))?;
        if insert.execute((&entry.id, &json, entry.body.as_bytes()))? == 1 {
            return Ok(true);
        }
        let select = format!("SELECT bson FROM {table} WHERE id = ?1");
        let mut select = transaction.prepare_cached(&select)?;
        let stored: Vec<u8> = select.query_row([&entry.id], |row| row.get(0))?;
        Ok(stored == entry.body.as_bytes())
    })
    .map_err(|e| error::store(address, e))
}

/// Removes those of the entries that exist.
pub(super) fn remove(
    connection: &mut Connection,
    table: Table,
    ids: &[Arc<str>],
) -> rusqlite::Result<()> {
    in_transaction(connection, |transaction| {
        for id in ids {
            remove_one(transaction, table, id)?;
        }
        Ok(())
    })
}

/// Reads one page of the entries in a range.
pub(super) fn page(
    connection: &Connection,
    address: &str,
    table: Table,
    range: &IdRange<'_>,
    limit: usize,
) -> Result<Vec<Entry>, Error> {
    let rows = page_rows(connection, table, range, limit).map_err(|e| error::store(address, e))?;
    to_entries(address, table, rows)
}

/// Reads those of the entries that exist.
pub(super) fn find(
    connection: &mut Connection,
    address: &str,
    table: Table,
    ids: &[Arc<str>],
) -> Result<Vec<Entry>, Error> {
    let rows = find_rows(connection, table, ids).map_err(|e| error::store(address, e))?;
    to_entries(address, table, rows)
}

/// An id and its BSON.
type Row = (Arc<str>, Vec<u8>);

fn page_rows(
    connection: &Connection,
    table: Table,
    range: &IdRange<'_>,
    limit: usize,
) -> rusqlite::Result<Vec<Row>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (condition, start) = match &range.start {
        Start::At(start) => ("id >= ?2", start),
        Start::After(start) => ("id > ?2", start),
    };
    let mut parameters: Vec<&dyn ToSql> = vec![&limit, start];
    // Another statement: one condition for both cases would read the whole index.
    let end = if range.end.is_some() {
        "AND id < ?3"
    } else {
        ""
    };
    parameters.extend(range.end.iter().map(|end| end as &dyn ToSql));
    let mut select = connection.prepare_cached(&format!(
        "SELECT id, bson FROM {table} WHERE {condition} {end} ORDER BY id LIMIT ?1"
    ))?;
    let mut rows = select.query(parameters.as_slice())?;
    let mut page: Vec<Row> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let (id, body): Row = (row.get(0)?, row.get(1)?);
        bytes += id.len() + body.len();
        if bytes > PAGE_BYTES_MAX && !page.is_empty() {
            break;
        }
        page.push((id, body));
    }
    Ok(page)
}

fn find_rows(
    connection: &mut Connection,
    table: Table,
    ids: &[Arc<str>],
) -> rusqlite::Result<Vec<Row>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let select = format!("SELECT id, bson FROM {table} WHERE id = ?1");
    let mut select = transaction.prepare_cached(&select)?;
    let mut found = Vec::new();
    for id in ids {
        let row = select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)));
        found.extend(row.optional()?);
    }
    Ok(found)
}

fn to_entries(address: &str, table: Table, rows: Vec<Row>) -> Result<Vec<Entry>, Error> {
    let to_entry = |(id, body): Row| {
        let body = RawDocumentBuf::from_bytes(body)
            .map_err(|e| error::foreign_entry(address, table, &id, &e))?;
        Ok(Entry { table, id, body })
    };
    rows.into_iter().map(to_entry).collect()
}

fn remove_one(transaction: &Transaction, table: Table, id: &str) -> rusqlite::Result<usize> {
    let mut delete = transaction.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?;
    delete.execute([id])
}

fn to_json(address: &str, entry: &Entry) -> Result<Json, Error> {
    let json = document::to_json(&entry.body);
    json.map(Json)
        .map_err(|e| error::no_json_entry(address, entry, &e))
}

fn in_transaction<T>(
    connection: &mut Connection,
    run: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = run(&transaction)?;
    transaction.commit()?;
    Ok(result)
}
