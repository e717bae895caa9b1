//! Transactions, tried again as MongoDB says.

use bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf};
use bson::spec::ElementType;
use bson::{RawBsonRef, rawdoc};
use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{ReadConcern, TransactionOptions};
use mongodb::{ClientSession, Database};

use super::write_concern;

/// Tries of one transaction; each fails only because of something passing.
const TRIES: u32 = 100;

pub(super) fn options() -> TransactionOptions {
    TransactionOptions::builder()
        .read_concern(ReadConcern::snapshot())
        .write_concern(write_concern())
        .build()
}

/// An `insert` of so many documents.
pub(super) fn insert(collection: &str, documents: RawArrayBuf) -> RawDocumentBuf {
    rawdoc! { "insert": collection, "documents": documents }
}

/// An `update` with these statements.
pub(super) fn update(collection: &str, updates: RawArrayBuf) -> RawDocumentBuf {
    rawdoc! { "update": collection, "updates": updates }
}

/// The statement that replaces a document that exists.
pub(super) fn replacement(id: &str, document: RawDocumentBuf) -> RawDocumentBuf {
    rawdoc! { "q": { "_id": id }, "u": document }
}

/// A document with this `_id` in front of its fields, and these elements behind them.
pub(super) fn with_id(
    id: &str,
    fields: &RawDocument,
    behind: &[u8],
) -> anyhow::Result<RawDocumentBuf> {
    let fields = fields.as_bytes();
    let fields = &fields[4..fields.len() - 1];
    let string_len = i32::try_from(id.len() + 1)?;
    let len = 4 + 5 + 4 + id.len() + 1 + fields.len() + behind.len() + 1;
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&i32::try_from(len)?.to_le_bytes());
    bytes.push(ElementType::String as u8);
    bytes.extend_from_slice(b"_id\0");
    bytes.extend_from_slice(&string_len.to_le_bytes());
    bytes.extend_from_slice(id.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(fields);
    bytes.extend_from_slice(behind);
    bytes.push(0);
    Ok(RawDocumentBuf::from_bytes(bytes)?)
}

/// Runs the commands in one transaction, and checks that each did all that it was told to.
///
/// # Errors
/// One that another try would meet again.
pub(super) async fn run(
    database: &Database,
    session: &mut ClientSession,
    commands: &[RawDocumentBuf],
) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        match attempt(database, session, commands).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                tries += 1;
                let driver = error.downcast_ref::<mongodb::error::Error>();
                let passing =
                    driver.is_some_and(|error| error.contains_label(TRANSIENT_TRANSACTION_ERROR));
                if !passing || tries == TRIES {
                    return Err(error);
                }
            }
        }
    }
}

async fn attempt(
    database: &Database,
    session: &mut ClientSession,
    commands: &[RawDocumentBuf],
) -> anyhow::Result<()> {
    session.start_transaction().with_options(options()).await?;
    for command in commands {
        let request = database.run_raw_command(command.clone());
        let reply = request.session(&mut *session).await?;
        let done = reply.get_i32("n").unwrap_or_default();
        let expected = statements(command)?;
        let complete = !reply.contains_key("writeErrors") && usize::try_from(done)? == expected;
        anyhow::ensure!(complete, "{done} of {expected} statements: {reply:?}");
    }
    commit(session).await
}

/// Commits, and asks again where the answer was lost.
pub(super) async fn commit(session: &mut ClientSession) -> anyhow::Result<()> {
    loop {
        match session.commit_transaction().await {
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {}
            result => return Ok(result?),
        }
    }
}

fn statements(command: &RawDocument) -> anyhow::Result<usize> {
    for key in ["documents", "updates"] {
        if let Some(RawBsonRef::Array(array)) = command.get(key)? {
            return Ok(array.into_iter().count());
        }
    }
    anyhow::bail!("a command has no statements")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_in_front_of_the_fields() {
        let fields = rawdoc! { "a": 1, "b": { "c": "d" } };
        let document = with_id("kö", &fields, &[]).expect("it is small");
        assert_eq!(document, rawdoc! { "_id": "kö", "a": 1, "b": { "c": "d" } });
        let empty = with_id("", &rawdoc! {}, &[]).expect("it is small");
        assert_eq!(empty, rawdoc! { "_id": "" });
    }

    #[test]
    fn a_command_is_complete_when_as_many_are_done_as_it_has_statements() {
        let mut statements = RawArrayBuf::new();
        statements.push(rawdoc! { "_id": "a" });
        statements.push(rawdoc! { "_id": "b" });
        for command in [insert("c", statements.clone()), update("c", statements)] {
            assert_eq!(super::statements(&command).expect("it has two"), 2);
        }
        assert!(super::statements(&rawdoc! { "ping": 1 }).is_err());
    }
}
