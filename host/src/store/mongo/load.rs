//! Reads documents, from the primary and as a majority has them.
//!
//! Guarantee: nothing older than this store's own last claim, commit or read is read, also from
//! a primary that was elsewhere at that time: each read waits for that point in the history
//! (`afterClusterTime`).
//!
//! Not here: caching.

use std::ops::ControlFlow;
use std::time::Duration;

use bson::raw::cstr;
use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};
use bson::rawdoc;
use futures_util::StreamExt;

use super::error::Failure;
use super::operation::Operations;
use super::{MongoStore, REQUEST_TIMEOUT, SERVER_TIMEOUT};
use crate::fast_hash::FastMap;
use crate::projection::DocumentId;
use crate::store::bson_writer::BsonWriter;
use crate::store::envelope::{Invalid, Opener};
use crate::store::{Answer, Error, StoredDocument, ViewId};

/// At most so many ids, and so many bytes of them, in one request.
const IDS_MAX: usize = 5_000;
const ID_BYTES_MAX: usize = 1024 * 1024;

/// What to read of each document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// An empty body.
    Provenance,
}

/// Why a read ended before its end.
pub(super) enum Stopped {
    Failed(Failure),
    Foreign(Invalid),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Stopped::Failed(failure)
    }
}

impl MongoStore {
    pub(super) async fn load_documents(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        bytes_max: usize,
    ) -> Result<Option<Vec<Option<StoredDocument>>>, Error> {
        let loaded = self.load_up_to(view, ids, Part::Whole, bytes_max).await;
        loaded.map_err(|stopped| self.stopped(view, stopped))
    }

    /// Whatever of the documents comes first, until it is enough.
    pub(super) async fn load_first(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        bytes_max: usize,
    ) -> Result<Vec<Answer>, Error> {
        let mut answers = vec![Answer::Unread; ids.len()];
        let mut opener = Opener::default();
        let places = places(ids);
        let mut bytes = 0;
        let mut start = 0;
        while start < ids.len() && bytes <= bytes_max {
            let chunk = &ids[start..start + chunk_len(&ids[start..])];
            let filter = ids_filter(chunk.iter().map(|id| &**id));
            let find = self.find(&view.collection(), filter, chunk.len());
            let see = |sealed: &RawDocument| {
                let (id, document) = opener.open(sealed).map_err(Stopped::Foreign)?;
                bytes += document.body.as_bytes().len();
                if let Some(&place) = places.get(id) {
                    answers[place] = Answer::Found(document);
                }
                Ok::<_, Stopped>(match bytes > bytes_max {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                })
            };
            self.look_through(&self.operations, REQUEST_TIMEOUT, find, see)
                .await
                .map_err(|stopped| self.stopped(view, stopped))?;
            // Read to its end, a chunk tells as well which documents there are not.
            if bytes <= bytes_max {
                let answers = &mut answers[start..start + chunk.len()];
                for answer in answers.iter_mut().filter(|a| **a == Answer::Unread) {
                    *answer = Answer::Absent;
                }
            }
            start += chunk.len();
        }
        Ok(answers)
    }

    pub(super) async fn load_part(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        part: Part,
    ) -> Result<Vec<Option<StoredDocument>>, Stopped> {
        let loaded = self.load_up_to(view, ids, part, usize::MAX).await?;
        Ok(loaded.expect("nothing comes to more bytes than that"))
    }

    /// `None` where the bodies come to more than so many bytes, and then the rest is not read.
    async fn load_up_to(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        part: Part,
        bytes_max: usize,
    ) -> Result<Option<Vec<Option<StoredDocument>>>, Stopped> {
        let mut found = vec![None; ids.len()];
        let mut bytes = 0;
        let mut opener = Opener::default();
        let places = places(ids);
        let mut rest = ids;
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(chunk_len(rest));
            let filter = ids_filter(chunk.iter().map(|id| &**id));
            let mut find = self.find(&view.collection(), filter, chunk.len());
            if part == Part::Provenance {
                find.append(cstr!("projection"), rawdoc! { "_m": 1 });
            }
            let see = |sealed: &RawDocument| {
                bytes += sealed.as_bytes().len();
                if bytes > bytes_max {
                    return Ok(ControlFlow::Break(()));
                }
                let (id, document) = opener.open(sealed).map_err(Stopped::Foreign)?;
                if let Some(&place) = places.get(id) {
                    found[place] = Some(document);
                }
                Ok::<_, Stopped>(ControlFlow::Continue(()))
            };
            self.look_through(&self.operations, REQUEST_TIMEOUT, find, see)
                .await?;
            if bytes > bytes_max {
                return Ok(None);
            }
            rest = behind;
        }
        // An id that was asked for twice was answered once.
        for (index, id) in ids.iter().enumerate() {
            let place = places[&**id];
            if place != index {
                found[index] = found[place].clone();
            }
        }
        Ok(Some(found))
    }

    pub(super) async fn scan_documents(
        &self,
        view: &ViewId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, StoredDocument)>, Error> {
        // A limit of 0 means none to the server.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let filter = match after {
            Some(after) => rawdoc! { "_id": { "$gt": after } },
            None => rawdoc! {},
        };
        let mut find = self.find(&view.collection(), filter, limit);
        find.append(cstr!("sort"), rawdoc! { "_id": 1 });
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        find.append(cstr!("limit"), limit);

        let mut opener = Opener::default();
        let mut found = Vec::new();
        let scanned = self
            .for_each(find, |sealed| {
                let (id, document) = opener.open(sealed).map_err(Stopped::Foreign)?;
                found.push((id.into(), document));
                Ok::<(), Stopped>(())
            })
            .await;
        match scanned {
            Ok(()) => Ok(found),
            Err(stopped) => Err(self.stopped(view, stopped)),
        }
    }

    /// A `find` of about `count` documents that sees what this store has seen or written before.
    pub(super) fn find(
        &self,
        collection: &str,
        filter: RawDocumentBuf,
        count: usize,
    ) -> RawDocumentBuf {
        let mut find = self.find_any(collection, filter);
        // One more than can be found, so that the first batch ends the cursor.
        let batch = i32::try_from(count.min(IDS_MAX)).expect("IDS_MAX is small") + 1;
        find.append(cstr!("batchSize"), batch);
        find
    }

    /// The same without a size for its batches.
    pub(super) fn find_any(&self, collection: &str, filter: RawDocumentBuf) -> RawDocumentBuf {
        self.find_within(SERVER_TIMEOUT, collection, filter)
    }

    /// A `find` that sees what this store has seen or written before, and on which the server works
    /// for so long at most.
    pub(super) fn find_within(
        &self,
        server_timeout: Duration,
        collection: &str,
        filter: RawDocumentBuf,
    ) -> RawDocumentBuf {
        let mut concern = rawdoc! { "level": "majority" };
        if let Some(time) = self.newest() {
            concern.append(cstr!("afterClusterTime"), time);
        }
        let milliseconds = i64::try_from(server_timeout.as_millis()).expect("it is short");
        rawdoc! {
            "find": collection,
            "filter": filter,
            "readConcern": concern,
            "maxTimeMS": milliseconds,
        }
    }

    /// Runs a `find`, and shows each document where it lies in the server's reply.
    pub(super) async fn for_each<E: From<Failure>>(
        &self,
        find: RawDocumentBuf,
        mut see: impl FnMut(&RawDocument) -> Result<(), E>,
    ) -> Result<(), E> {
        let see = |document: &RawDocument| see(document).map(ControlFlow::Continue);
        self.look_through(&self.operations, REQUEST_TIMEOUT, find, see)
            .await
    }

    /// The same by another client, for so long at most for each reply, until `see` has seen enough.
    pub(super) async fn look_through<E: From<Failure>>(
        &self,
        operations: &Operations,
        timeout: Duration,
        find: RawDocumentBuf,
        mut see: impl FnMut(&RawDocument) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let first = operations.ask(timeout, |database| async move {
            let mut batches = database.run_raw_cursor_command(find).batch().await?;
            let batch = batches.next().await.transpose()?;
            Ok((batches, batch))
        });
        let (mut batches, mut next) = first.await?;
        while let Some(batch) = next {
            let reply = batch.as_raw_document();
            self.note(reply.get_timestamp("operationTime").ok());
            for document in batch.doc_slices().map_err(Failure::from)? {
                let RawBsonRef::Document(document) =
                    document.map_err(|error| Failure::Driver(error.into()))?
                else {
                    return Err(Failure::Reply("a batch holds what is no document").into());
                };
                if see(document)?.is_break() {
                    return Ok(());
                }
            }
            if is_last(reply) {
                return Ok(());
            }
            let more = operations.ask(timeout, |_| async move {
                let batch = batches.next().await.transpose()?;
                Ok((batches, batch))
            });
            (batches, next) = more.await?;
        }
        Ok(())
    }

    fn stopped(&self, view: &ViewId, stopped: Stopped) -> Error {
        match stopped {
            Stopped::Failed(failure) => failure.at(&self.place("read documents")),
            Stopped::Foreign(Invalid { id, message }) => Error::Foreign {
                address: self.shared.address.clone(),
                view: view.clone(),
                id,
                message,
            },
        }
    }
}

/// True where the server has closed the cursor, so that there is nothing to ask for.
fn is_last(reply: &RawDocument) -> bool {
    let cursor = reply.get_document("cursor");
    cursor.is_ok_and(|cursor| matches!(cursor.get_i64("id"), Ok(0)))
}

/// The filter for documents with these ids.
pub(super) fn ids_filter<'i>(ids: impl IntoIterator<Item = &'i str>) -> RawDocumentBuf {
    let mut filter = BsonWriter::with_capacity(0);
    filter.document("_id", |condition| condition.strings("$in", ids));
    filter.finish()
}

/// Where each id's document goes; the first place of an id that is asked for twice.
fn places(ids: &[DocumentId]) -> FastMap<&str, usize> {
    let mut places = FastMap::with_capacity_and_hasher(ids.len(), Default::default());
    for (index, id) in ids.iter().enumerate() {
        places.entry(&**id).or_insert(index);
    }
    places
}

/// How many of the ids fit in one request; at least one.
pub(super) fn chunk_len<I: AsRef<str>>(ids: &[I]) -> usize {
    let mut bytes = 0;
    let fitting = ids.iter().take(IDS_MAX).take_while(|id| {
        bytes += id.as_ref().len();
        bytes <= ID_BYTES_MAX
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_asked_for_in_requests_of_bounded_size() {
        let many: Vec<DocumentId> = (0..12_000).map(|n| n.to_string().into()).collect();
        assert_eq!(chunk_len(&many), IDS_MAX);
        assert_eq!(chunk_len(&many[..7]), 7);
        let long: Vec<DocumentId> = vec!["x".repeat(ID_BYTES_MAX / 2).into(); 3];
        assert_eq!(chunk_len(&long), 2);
        let longer: Vec<DocumentId> = vec!["x".repeat(ID_BYTES_MAX + 1).into(); 2];
        assert_eq!(chunk_len(&longer), 1);
    }

    #[test]
    fn the_filter_names_the_ids() {
        assert_eq!(
            ids_filter(["a", "b"]),
            rawdoc! { "_id": { "$in": ["a", "b"] } }
        );
    }
}
