//! Documents as rows: BSON is what counts, JSON is for readers with tools of their own.

use std::collections::HashMap;

use bson::raw::RawDocumentBuf;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::error::{self, Unwritten};
use super::schema::{self, ViewSql};
use crate::document;
use crate::projection::DocumentId;
use crate::record::{Offset, TopicPartition};
use crate::store::{
    Answer, Change, CommitError, Error, Guard, Provenance, StoredDocument, ViewId, Write,
};

/// A write with its document's JSON.
pub(super) struct EncodedWrite<'a> {
    write: &'a Write,
    json: Json,
}

/// Empty where the document goes.
#[derive(Default)]
pub(super) struct Json(pub(super) Vec<u8>);

/// A row as it was read. Its BSON is checked by whom it is for.
pub(super) struct Row {
    id: DocumentId,
    bson: Vec<u8>,
    provenance: Provenance,
}

/// Renders the documents' JSON. Deletes come first, then updates, then inserts, so that a value of
/// a unique index is given up before another document takes it.
pub(super) fn encode<'a>(
    address: &str,
    writes: &'a [Write],
) -> Result<Vec<EncodedWrite<'a>>, CommitError> {
    let encode_one = |write: &'a Write| {
        let json = match &write.change {
            Change::Insert(document) | Change::Update { document, .. } => {
                document::to_json(&document.body)
                    .map_err(|e| error::no_json(address, &write.view, &write.id, &e))?
            }
            Change::Delete { .. } => Vec::new(),
        };
        Ok(EncodedWrite {
            write,
            json: Json(json),
        })
    };
    let mut writes: Vec<&Write> = writes.iter().collect();
    writes.sort_by_key(|write| match write.change {
        Change::Delete { .. } => 0,
        Change::Update { .. } => 1,
        Change::Insert(_) => 2,
    });
    writes.into_iter().map(encode_one).collect()
}

/// Writes documents, up to the first that cannot be; answers which that is, and why.
pub(super) fn write<'a>(
    transaction: &Transaction,
    writes: &[EncodedWrite<'a>],
) -> Result<(), Unwritten<&'a Write>> {
    let mut statements: HashMap<&ViewId, ViewSql> = HashMap::new();
    for EncodedWrite { write, json } in writes {
        let sql = statements
            .entry(&write.view)
            .or_insert_with(|| ViewSql::new(&write.view));
        match write_one(transaction, sql, write, json) {
            Ok(true) => {}
            Ok(false) => return Err(Unwritten::Mismatch(write)),
            Err(error) => return Err(Unwritten::of(error, write)),
        }
    }
    Ok(())
}

/// Answers false where the document is not in the state that the change expects.
fn write_one(
    transaction: &Transaction,
    sql: &ViewSql,
    write: &Write,
    json: &Json,
) -> rusqlite::Result<bool> {
    let run = |sql: &str, parameters: &[&[&dyn ToSql]]| {
        let mut statement = transaction.prepare_cached(sql)?;
        statement.execute(parameters.concat().as_slice())
    };
    let id: &[&dyn ToSql] = &[&write.id];
    let rows = match &write.change {
        Change::Insert(document) => run(
            &sql.insert,
            &[
                id,
                &[json, &bytes(document)],
                &columns(&document.provenance),
            ],
        ),
        Change::Update {
            document,
            guard: Guard::SoleWriter,
        } => run(
            &sql.update,
            &[
                id,
                &[json, &bytes(document)],
                &columns(&document.provenance),
            ],
        ),
        Change::Update {
            document,
            guard: Guard::Unchanged(old),
        } => run(
            &sql.update_unchanged,
            &[
                id,
                &[json, &bytes(document)],
                &columns(&document.provenance),
                &columns(old),
            ],
        ),
        Change::Delete {
            guard: Guard::SoleWriter,
        } => run(&sql.delete, &[id]),
        Change::Delete {
            guard: Guard::Unchanged(old),
        } => run(&sql.delete_unchanged, &[id, &columns(old)]),
    }?;
    Ok(rows == 1)
}

/// Reads documents in the order of `ids`, all as of one moment; `None` where they are more than so
/// many bytes.
pub(super) fn load(
    connection: &mut Connection,
    address: &str,
    view: &ViewId,
    ids: &[DocumentId],
    bytes_max: usize,
) -> Result<Option<Vec<Option<StoredDocument>>>, Error> {
    let rows = load_rows(connection, view, ids, bytes_max).map_err(|e| error::store(address, e))?;
    let Some(rows) = rows else {
        return Ok(None);
    };
    let check_one = |row: Option<Row>| row.map(|row| check(address, view, row)).transpose();
    let documents = rows
        .into_iter()
        .map(|row| Ok(check_one(row)?.map(|(_, document)| document)));
    documents.collect::<Result<Vec<_>, Error>>().map(Some)
}

/// Reads documents in the order of `ids` until it is enough, all as of one moment.
pub(super) fn load_some(
    connection: &mut Connection,
    address: &str,
    view: &ViewId,
    ids: &[DocumentId],
    bytes_max: usize,
) -> Result<Vec<Answer>, Error> {
    let rows = some_rows(connection, view, ids, bytes_max);
    let rows = rows.map_err(|e| error::store(address, e))?;
    let answer = |row: Option<Row>| match row {
        Some(row) => Ok(Answer::Found(check(address, view, row)?.1)),
        None => Ok(Answer::Absent),
    };
    let mut answers: Vec<Answer> = rows.into_iter().map(answer).collect::<Result<_, Error>>()?;
    answers.resize(ids.len(), Answer::Unread);
    Ok(answers)
}

/// Reads up to `limit` documents after the id `after`.
pub(super) fn scan(
    connection: &mut Connection,
    address: &str,
    view: &ViewId,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(DocumentId, StoredDocument)>, Error> {
    let rows = scan_rows(connection, view, after, limit).map_err(|e| error::store(address, e))?;
    rows.into_iter()
        .map(|row| check(address, view, row))
        .collect()
}

fn load_rows(
    connection: &mut Connection,
    view: &ViewId,
    ids: &[DocumentId],
    bytes_max: usize,
) -> rusqlite::Result<Option<Vec<Option<Row>>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    if !schema::has_table(&transaction, &view.collection())? {
        return Ok(Some(ids.iter().map(|_| None).collect()));
    }
    let mut statement = transaction.prepare_cached(&schema::select(view, "WHERE id = ?1"))?;
    let mut rows = Vec::with_capacity(ids.len());
    let mut bytes = 0;
    for id in ids {
        let row = statement.query_row([id], to_row).optional()?;
        bytes += row.as_ref().map_or(0, |row| row.bson.len());
        if bytes > bytes_max {
            return Ok(None);
        }
        rows.push(row);
    }
    Ok(Some(rows))
}

/// The first rows until it is enough.
fn some_rows(
    connection: &mut Connection,
    view: &ViewId,
    ids: &[DocumentId],
    bytes_max: usize,
) -> rusqlite::Result<Vec<Option<Row>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    if !schema::has_table(&transaction, &view.collection())? {
        return Ok(ids.iter().map(|_| None).collect());
    }
    let mut statement = transaction.prepare_cached(&schema::select(view, "WHERE id = ?1"))?;
    let mut rows = Vec::new();
    let mut bytes = 0;
    for id in ids {
        let row = statement.query_row([id], to_row).optional()?;
        bytes += row.as_ref().map_or(0, |row| row.bson.len());
        rows.push(row);
        if bytes > bytes_max {
            break;
        }
    }
    Ok(rows)
}

fn scan_rows(
    connection: &mut Connection,
    view: &ViewId,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<Row>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    if !schema::has_table(&transaction, &view.collection())? {
        return Ok(Vec::new());
    }
    // Two statements: one condition for both cases would read the whole index.
    let condition = match after {
        Some(_) => "WHERE id > ?2 ORDER BY id LIMIT ?1",
        None => "ORDER BY id LIMIT ?1",
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut parameters: Vec<&dyn ToSql> = vec![&limit];
    parameters.extend(after.iter().map(|after| after as &dyn ToSql));
    let mut statement = transaction.prepare_cached(&schema::select(view, condition))?;
    statement
        .query_map(parameters.as_slice(), to_row)?
        .collect()
}

pub(super) fn to_row(row: &rusqlite::Row) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        bson: row.get(1)?,
        provenance: Provenance {
            revision: row.get(2)?,
            partition: TopicPartition {
                topic: row.get(3)?,
                partition: row.get(4)?,
            },
            offset: Offset(row.get(5)?),
            plugin: row.get(6)?,
        },
    })
}

pub(super) fn check(
    address: &str,
    view: &ViewId,
    row: Row,
) -> Result<(DocumentId, StoredDocument), Error> {
    let body = RawDocumentBuf::from_bytes(row.bson)
        .map_err(|e| error::foreign_document(address, view, &row.id, &e))?;
    let document = StoredDocument {
        body,
        provenance: row.provenance,
    };
    Ok((row.id, document))
}

fn bytes(document: &StoredDocument) -> &[u8] {
    document.body.as_bytes()
}

fn columns(provenance: &Provenance) -> [&dyn ToSql; 5] {
    [
        &provenance.revision,
        &provenance.partition.topic,
        &provenance.partition.partition,
        &provenance.offset.0,
        &provenance.plugin,
    ]
}

impl ToSql for Json {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}
