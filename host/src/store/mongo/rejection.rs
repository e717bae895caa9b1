//! What MongoDB does not take of a commit, told so that somebody can mend it.
//!
//! Guarantee: told by codes alone, never by the wording of a message. What the server says of one
//! statement is about that statement's document, but for a list of troubles of the server's own.
//!
//! Not here: what becomes of the event behind it (`pipeline`).

use std::fmt::Write as _;

use bson::raw::{RawBsonRef, RawDocument};
use bson::{Document, doc};

use super::MongoStore;
use super::command::Target;
use super::error::Failure;
use crate::store::{Change, Commit, Culprit, Rejection, Write};

/// `CannotIndexParallelArrays`.
const PARALLEL_ARRAYS: i32 = 171;

/// What a failed write does not say about its document: the server is in need, or leaves.
const TROUBLES: &[i32] = &[
    1,     // InternalError
    6,     // HostUnreachable
    7,     // HostNotFound
    8,     // UnknownError
    13,    // Unauthorized
    24,    // LockTimeout
    50,    // MaxTimeMSExpired
    89,    // NetworkTimeout
    91,    // ShutdownInProgress
    112,   // WriteConflict
    146,   // ExceededMemoryLimit
    189,   // PrimarySteppedDown
    202,   // NetworkInterfaceExceededTimeLimit
    246,   // SnapshotUnavailable
    251,   // NoSuchTransaction
    262,   // ExceededTimeLimit
    365,   // TemporarilyUnavailable
    9001,  // SocketException
    10107, // NotWritablePrimary
    11600, // InterruptedAtShutdown
    11601, // Interrupted
    11602, // InterruptedDueToReplStateChange
    13435, // NotPrimaryNoSecondaryOk
    13436, // NotPrimaryOrSecondary
    14031, // OutOfDiskSpace
];

/// What a whole command is refused with for something in one of its documents.
const OF_CONTENT: &[i32] = &[
    2,   // BadValue
    9,   // FailedToParse
    14,  // TypeMismatch
    22,  // InvalidBSON
    52,  // DollarPrefixedFieldName
    121, // DocumentValidationFailure
    PARALLEL_ARRAYS,
];

/// Of the server's own words; some give the whole document.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Of a collection's indexes that are named.
const INDEXES_MAX: usize = 10;

/// True where a failed write says nothing about its document.
pub(super) fn is_trouble(code: i32) -> bool {
    TROUBLES.contains(&code)
}

/// True where a failed command says something about its documents.
pub(super) fn is_about_content(code: i32) -> bool {
    OF_CONTENT.contains(&code)
}

pub(super) fn clipped(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)]
}

/// What a statement of a command is about, and what it is called.
pub(super) fn of_statement(
    commit: &Commit,
    target: &Target,
    statement: usize,
) -> (Culprit, String) {
    match target {
        Target::Documents(writes) => {
            let Write { view, id, .. } = &commit.writes[writes[statement]];
            let culprit = Culprit::Document {
                view: view.clone(),
                id: id.clone(),
            };
            (culprit, format!("document \"{id}\" of view {view}"))
        }
        Target::Entries(changes) => {
            let change = &commit.entries[changes[statement]];
            let (table, id) = (change.table(), change.id().clone());
            let name = format!("entry \"{id}\" of {table}");
            (Culprit::Entry { table, id }, name)
        }
        Target::Checkpoints { .. } => unreachable!("only the host writes what is in checkpoints"),
    }
}

impl MongoStore {
    /// What the pipeline is told: with the indexes that may be meant, and the way out.
    pub(super) async fn rejection(
        &self,
        commit: &Commit,
        culprit: Option<Culprit>,
        code: i32,
        text: &str,
    ) -> Rejection {
        let mut message = text.to_owned();
        match &culprit {
            None => message.push_str("; change the document, or the index or validator"),
            Some(culprit @ Culprit::Document { .. }) => {
                let collection = culprit.collection();
                if code == PARALLEL_ARRAYS {
                    let indexes = self.indexes(&collection).await.unwrap_or_default();
                    push_parallel(&mut message, &indexes, body(commit, culprit));
                }
                message.push_str(&format!(
                    "; change the document, or the index or validator of collection \
                     \"{collection}\" that forbids it"
                ));
            }
            Some(culprit @ Culprit::Entry { .. }) => message.push_str(&format!(
                "; the collection is the host's own, so remove the index or validator of {} that \
                 forbids it",
                culprit.collection()
            )),
        }
        Rejection {
            address: self.shared.address.clone(),
            culprit,
            message,
        }
    }

    /// The indexes of a collection, each as its name and its key.
    async fn indexes(&self, collection: &str) -> Result<Vec<(String, Document)>, Failure> {
        let list = doc! { "listIndexes": collection };
        let reply = self.ask(|database| async move { database.run_command(list).await });
        let reply = reply.await?;
        let found = reply
            .get_document("cursor")
            .and_then(|cursor| cursor.get_array("firstBatch"))
            .map_err(|_| Failure::Reply("the list of indexes has no first batch"))?;
        let index = |index: &bson::Bson| {
            let index = index.as_document()?;
            let name = index.get_str("name").ok()?.to_owned();
            Some((name, index.get_document("key").ok()?.clone()))
        };
        Ok(found.iter().filter_map(index).collect())
    }
}

/// The document that was rejected.
fn body<'c>(commit: &'c Commit, culprit: &Culprit) -> Option<&'c RawDocument> {
    let Culprit::Document { view, id } = culprit else {
        return None;
    };
    let mut writes = commit.writes.iter();
    let write = writes.find(|write| write.view == *view && write.id == *id)?;
    match &write.change {
        Change::Insert(document) | Change::Update { document, .. } => Some(&document.body),
        Change::Delete { .. } => None,
    }
}

/// Names the indexes of which two fields lead to arrays of their own in the document.
fn push_parallel(message: &mut String, indexes: &[(String, Document)], body: Option<&RawDocument>) {
    let Some(body) = body else {
        return;
    };
    let parallel = |key: &Document| {
        let mut arrays: Vec<&str> = key.keys().filter_map(|path| array_on(body, path)).collect();
        arrays.sort_unstable();
        arrays.dedup();
        arrays.len() > 1
    };
    let found = indexes.iter().filter(|(_, key)| parallel(key));
    for (name, key) in found.take(INDEXES_MAX) {
        let written = write!(message, "; index \"{name}\" {key}");
        written.expect("a string takes what is written");
    }
}

/// The beginning of a path that leads to an array.
fn array_on<'p>(body: &RawDocument, path: &'p str) -> Option<&'p str> {
    let mut document = body;
    let mut end = 0;
    for name in path.split('.') {
        end += name.len();
        match document.get(name).ok()?? {
            RawBsonRef::Array(_) => return Some(&path[..end]),
            RawBsonRef::Document(inner) => document = inner,
            _ => return None,
        }
        end += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn the_index_over_two_arrays_is_named() {
        let indexes = [
            ("_id_".to_owned(), doc! { "_id": 1 }),
            ("one".to_owned(), doc! { "a": 1, "n": 1 }),
            ("two".to_owned(), doc! { "a": 1, "o.b": -1 }),
            ("the same".to_owned(), doc! { "o.b.x": 1, "o.b.y": 1 }),
        ];
        let body = rawdoc! { "a": [1], "n": 1, "o": { "b": [{ "x": 1 }] } };
        let mut message = String::new();
        push_parallel(&mut message, &indexes, Some(&body));
        assert_eq!(message, "; index \"two\" { \"a\": 1, \"o.b\": -1 }");
    }
}
