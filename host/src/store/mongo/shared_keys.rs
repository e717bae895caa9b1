//! The mark of those whose events of one key are in several partitions.
//!
//! Guarantee: whoever claims a partition and then finds no mark is fenced by the one who leaves
//! it, for the mark is there, on a majority, before the first epoch is raised. Once all are
//! fenced, the mark says that too, and nobody is fenced again.

use bson::{DateTime, Document, Timestamp, doc};
use mongodb::Database;
use mongodb::error::Result as Answer;

use super::MongoStore;
use super::command::CHECKPOINTS;
use super::connect::write_concern;
use super::error::Failure;
use super::load::ids_filter;
use crate::store::Error;

const SHARED_KEYS: &str = "_shared_keys";

impl MongoStore {
    pub(super) async fn has_shared_keys(&self, writer: &str) -> Result<bool, Error> {
        let mut marked = false;
        let find = self.find(SHARED_KEYS, ids_filter([writer]), 1);
        let read = self.for_each(find, |_| {
            marked = true;
            Ok::<(), Failure>(())
        });
        read.await
            .map_err(|failure| failure.at(&self.place("read whose keys are shared")))?;
        Ok(marked)
    }

    pub(super) async fn mark_shared_keys(&self, writer: &str) -> Result<(), Error> {
        let mark = self.mark(writer).await;
        mark.map_err(|failure| failure.at(&self.place("record whose keys are shared")))
    }

    async fn mark(&self, writer: &str) -> Result<(), Failure> {
        let writer = writer.to_owned();
        let marked = self.ask(|database| mark(database, writer)).await?;
        self.note(marked);
        Ok(())
    }
}

async fn mark(database: Database, writer: String) -> Answer<Option<Timestamp>> {
    let mut session = database.client().start_session().await?;
    let marks = database.collection::<Document>(SHARED_KEYS);
    let before = marks
        .find_one_and_update(
            doc! { "_id": &writer },
            doc! { "$setOnInsert": { "since": DateTime::now() } },
        )
        .upsert(true)
        .write_concern(write_concern())
        .session(&mut session)
        .await?;
    if before.is_some_and(|mark| mark.get_bool("fenced").unwrap_or(false)) {
        return Ok(None);
    }
    // A checkpoint's id is `writer/topic/partition`, and `0` comes after `/`.
    let of_this_writer = doc! { "_id": {
        "$gt": format!("{writer}/"),
        "$lt": format!("{writer}0"),
    } };
    let checkpoints = database.collection::<Document>(CHECKPOINTS);
    checkpoints
        .update_many(of_this_writer, doc! { "$inc": { "epoch": 1_i64 } })
        .write_concern(write_concern())
        .session(&mut session)
        .await?;
    marks
        .update_one(doc! { "_id": &writer }, doc! { "$set": { "fenced": true } })
        .write_concern(write_concern())
        .session(&mut session)
        .await?;
    Ok(session.operation_time())
}
