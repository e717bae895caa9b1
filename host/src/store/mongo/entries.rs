//! Reads and writes entries of the reserved tables outside of commits.
//!
//! Guarantee: a read sees what this store has committed, put or removed before, as a read of
//! documents does (`load`).
//!
//! Not here: the entries of a commit (`command`, `commit`).

use std::collections::HashSet;
use std::sync::Arc;

use bson::raw::{RawDocument, RawDocumentBuf, cstr};
use bson::{Document, doc, rawdoc};
use mongodb::options::FindOneAndReplaceOptions;

use super::connect::write_concern;
use super::decision::{Reply, read_reply};
use super::error::{Failure, code};
use super::load::{chunk_len, ids_filter};
use super::{MongoStore, SERVER_TIMEOUT};
use crate::store::bson_writer::BsonWriter;
use crate::store::entry::{IdRange, Start};
use crate::store::{Entry, Error, Table};

/// Two may insert the same entry at once; the second time around it exists.
const PUTS_MAX: u32 = 3;

impl MongoStore {
    pub(super) async fn page_of_entries(
        &self,
        table: Table,
        range: IdRange<'_>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        // A limit of 0 means none to the server.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut find = self.find_any(table.name(), range_filter(&range));
        find.append(cstr!("sort"), rawdoc! { "_id": 1 });
        // One batch and no more: the server ends it at 16 MiB.
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        find.append(cstr!("limit"), limit);
        find.append(cstr!("batchSize"), limit);
        find.append(cstr!("singleBatch"), true);
        let mut found = Vec::new();
        let read = self.collect(table, find, &mut found).await;
        read.map_err(|failure| self.cannot("read", table, failure))?;
        Ok(found)
    }

    pub(super) async fn entries_with(
        &self,
        table: Table,
        ids: &[Arc<str>],
    ) -> Result<Vec<Entry>, Error> {
        let mut found = Vec::new();
        let mut rest = ids;
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(chunk_len(rest));
            let find = self.find(
                table.name(),
                ids_filter(chunk.iter().map(|id| &**id)),
                chunk.len(),
            );
            let read = self.collect(table, find, &mut found).await;
            read.map_err(|failure| self.cannot("read", table, failure))?;
            rest = behind;
        }
        Ok(found)
    }

    async fn collect(
        &self,
        table: Table,
        find: RawDocumentBuf,
        found: &mut Vec<Entry>,
    ) -> Result<(), Failure> {
        self.for_each(find, |document| {
            found.push(open(table, document)?);
            Ok::<(), Failure>(())
        })
        .await
    }

    /// Those of the ids that have an entry.
    pub(super) async fn existing(
        &self,
        table: Table,
        ids: &[&str],
    ) -> Result<HashSet<String>, Failure> {
        let mut existing = HashSet::new();
        let mut rest = ids;
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(chunk_len(rest));
            let filter = ids_filter(chunk.iter().copied());
            let mut find = self.find(table.name(), filter, chunk.len());
            find.append(cstr!("projection"), rawdoc! { "_id": 1 });
            self.for_each(find, |document| {
                existing.insert(id_of(document)?.to_owned());
                Ok::<(), Failure>(())
            })
            .await?;
            rest = behind;
        }
        Ok(existing)
    }

    pub(super) async fn put(&self, entry: &Entry) -> Result<(), Error> {
        let size = entry.check_size();
        size.map_err(|too_large| self.refused(format!("{too_large}; cut it into several")))?;
        let mut puts = 1;
        loop {
            match self.replace(entry).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.code() == Some(code::DUPLICATE_KEY) && puts < PUTS_MAX => {
                    puts += 1;
                }
                Err(failure) => return Err(self.cannot("write", entry.table, failure)),
            }
        }
    }

    /// Not an update: of the writes that the driver sends again by itself, only this one takes a
    /// time limit, and a transaction that holds the entry may make it wait.
    async fn replace(&self, entry: &Entry) -> Result<(), Failure> {
        let options = FindOneAndReplaceOptions::builder()
            .upsert(true)
            .projection(doc! { "_id": 1 })
            .write_concern(write_concern())
            .max_time(SERVER_TIMEOUT)
            .build();
        let (table, id) = (entry.table.name(), entry.id.to_string());
        let body = entry.body.clone();
        let replace = self.ask(|database| async move {
            let mut session = database.client().start_session().await?;
            let collection = database.collection::<RawDocumentBuf>(table);
            let replaced = collection
                .find_one_and_replace(doc! { "_id": id }, body)
                .with_options(options)
                .session(&mut session)
                .await;
            Ok((replaced, session.operation_time()))
        });
        let (replaced, time) = replace.await?;
        self.note(time);
        replaced?;
        Ok(())
    }

    pub(super) async fn add(&self, entry: &Entry) -> Result<bool, Error> {
        let size = entry.check_size();
        size.map_err(|too_large| self.refused(format!("{too_large}; cut it into several")))?;
        let inserted = self.insert(entry).await;
        if inserted.map_err(|failure| self.cannot("write", entry.table, failure))? {
            return Ok(true);
        }
        let ids = [Arc::clone(&entry.id)];
        let found = self.entries_with(entry.table, &ids).await?;
        Ok(found.first() == Some(entry))
    }

    /// False where there is an entry with this id.
    async fn insert(&self, entry: &Entry) -> Result<bool, Failure> {
        let mut insert = BsonWriter::with_capacity(entry.bytes());
        insert.string("insert", entry.table.name());
        insert.documents("documents", [entry], |document, entry| {
            document.string("_id", &entry.id);
            document.elements(&entry.body);
        });
        let reply = self.write(insert.finish()).await?;
        if reply.contains_key("writeConcernError") {
            return Err(Failure::Reply(
                "a majority did not confirm in time that an entry is inserted",
            ));
        }
        match read_reply(&reply, 1) {
            Reply::Matched => Ok(true),
            Reply::Exists { .. } => Ok(false),
            Reply::Short | Reply::Rejected { .. } | Reply::Unreadable => {
                Err(Failure::Reply("the server did not insert an entry"))
            }
        }
    }

    pub(super) async fn remove(&self, table: Table, ids: &[Arc<str>]) -> Result<(), Error> {
        let mut rest = ids;
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(chunk_len(rest));
            let removed = self.delete(table, chunk).await;
            removed.map_err(|failure| self.cannot("write", table, failure))?;
            rest = behind;
        }
        Ok(())
    }

    /// Not the driver's own delete, which takes no time limit.
    async fn delete(&self, table: Table, ids: &[Arc<str>]) -> Result<(), Failure> {
        let mut delete = BsonWriter::with_capacity(0);
        delete.string("delete", table.name());
        let filter = ids_filter(ids.iter().map(|id| &**id));
        delete.documents("deletes", [filter], |statement, filter| {
            statement.document("q", |query| query.elements(&filter));
            statement.int32("limit", 0);
        });
        check_delete(&self.write(delete.finish()).await?)
    }

    /// Runs a command that writes, with a majority's confirmation and a time limit.
    async fn write(&self, mut command: RawDocumentBuf) -> Result<Document, Failure> {
        let concern = bson::serialize_to_raw_document_buf(&write_concern());
        command.append(
            cstr!("writeConcern"),
            concern.map_err(mongodb::error::Error::from)?,
        );
        let milliseconds = i64::try_from(SERVER_TIMEOUT.as_millis()).expect("it is short");
        command.append(cstr!("maxTimeMS"), milliseconds);

        let write = self.ask(|database| async move {
            let mut session = database.client().start_session().await?;
            let reply = database
                .run_raw_command(command)
                .session(&mut session)
                .await;
            Ok((reply, session.operation_time()))
        });
        let (reply, time) = write.await?;
        self.note(time);
        Ok(reply?)
    }

    fn cannot(&self, action: &str, table: Table, failure: Failure) -> Error {
        failure.at(&self.place(&format!("{action} collection \"{table}\"")))
    }
}

fn check_delete(reply: &Document) -> Result<(), Failure> {
    if reply.contains_key("writeConcernError") {
        return Err(Failure::Reply(
            "a majority did not confirm in time that entries are removed",
        ));
    }
    match read_reply(reply, 0) {
        // It removes those that are there, however many these are.
        Reply::Matched | Reply::Short => Ok(()),
        Reply::Exists { .. } | Reply::Rejected { .. } | Reply::Unreadable => {
            Err(Failure::Reply("the server did not remove entries"))
        }
    }
}

fn range_filter(range: &IdRange<'_>) -> RawDocumentBuf {
    let mut filter = BsonWriter::with_capacity(0);
    filter.document("_id", |condition| {
        match range.start {
            Start::At(start) => condition.string("$gte", start),
            Start::After(start) => condition.string("$gt", start),
        }
        if let Some(end) = &range.end {
            condition.string("$lt", end);
        }
    });
    filter.finish()
}

fn id_of(document: &RawDocument) -> Result<&str, Failure> {
    let id = document.get_str("_id");
    id.map_err(|_| Failure::Reply("an entry's _id is not a string"))
}

/// Takes a stored entry apart.
fn open(table: Table, document: &RawDocument) -> Result<Entry, Failure> {
    let mut body = RawDocumentBuf::new();
    for element in document {
        let (key, value) = element.map_err(mongodb::error::Error::from)?;
        if key.as_str() != "_id" {
            body.append(key, value);
        }
    }
    Ok(Entry {
        table,
        id: id_of(document)?.into(),
        body,
    })
}
