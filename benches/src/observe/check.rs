//! Whether a contender has made the documents that it should have.

use bson::doc;
use bson::raw::RawDocumentBuf;
use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::options::ReadConcern;

use crate::expected::{Expected, Fields};

/// How many wrong documents are described.
const TOLD: usize = 3;

/// Compares all documents of a collection, as a majority of the servers have it.
///
/// # Errors
/// MongoDB's. Documents that are wrong are no error, but the inner result's.
pub async fn check(
    collection: &Collection<RawDocumentBuf>,
    expected: &dyn Expected,
    fields: Fields,
) -> anyhow::Result<Result<(), String>> {
    let find = collection
        .find(doc! {})
        .read_concern(ReadConcern::majority());
    let mut documents = find.batch_size(5_000).await?;
    let (mut count, mut wrong, mut told) = (0_u64, 0_u64, Vec::new());
    while let Some(document) = documents.try_next().await? {
        count += 1;
        let checked = match document.get_str("_id") {
            Ok(id) => expected
                .check(id, &document, fields)
                .map_err(|reason| format!("{id}: {reason}")),
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = checked {
            wrong += 1;
            if told.len() < TOLD {
                told.push(reason);
            }
        }
    }
    let missing = expected.documents().cast_signed() - count.cast_signed();
    Ok(match (wrong, missing) {
        (0, 0) => Ok(()),
        (0, missing) => Err(format!(
            "{count} documents, where there must be {}: {missing} are missing",
            expected.documents()
        )),
        (wrong, _) => Err(format!(
            "{wrong} of {count} documents are wrong: {}",
            told.join("; ")
        )),
    })
}
