//! Takes partitions over, and reads how far they are.
//!
//! Guarantee: a claim that answers has raised the epoch, on a majority. One that fails may have
//! raised it too, which only costs a number.

use bson::{Document, doc};
use mongodb::options::{FindOneAndUpdateOptions, ReturnDocument};

use super::command::CHECKPOINTS;
use super::connect::write_concern;
use super::error::{Failure, code};
use super::{MongoStore, REQUEST_TIMEOUT, SERVER_TIMEOUT, within};
use crate::record::{Epoch, NextOffset};
use crate::store::{CheckpointId, Claim, Error};

/// Two first claims of a partition may both insert; the second time around it exists.
const CLAIMS_MAX: u32 = 3;

impl MongoStore {
    pub(super) async fn claim_checkpoint(
        &self,
        checkpoint: &CheckpointId,
        owner: &str,
    ) -> Result<Claim, Error> {
        let id = checkpoint.to_string();
        let mut claims = 1;
        let claimed = loop {
            match self.raise_epoch(&id, owner).await {
                Err(failure)
                    if failure.code() == Some(code::DUPLICATE_KEY) && claims < CLAIMS_MAX =>
                {
                    claims += 1;
                }
                other => break other,
            }
        };
        claimed.map_err(|failure| failure.at(&self.place("claim partitions")))
    }

    /// The claim itself, outside of any transaction: it waits for one that moves the same
    /// checkpoint, so that either that one commits first and its progress is read here, or it
    /// finds another epoch.
    async fn raise_epoch(&self, id: &str, owner: &str) -> Result<Claim, Failure> {
        let update = doc! {
            "$inc": { "epoch": 1_i64 },
            "$set": { "owner": owner },
            "$currentDate": { "claimed_at": true },
            "$setOnInsert": { "next": NextOffset::ZERO.0 },
        };
        let options = FindOneAndUpdateOptions::builder()
            .upsert(true)
            .return_document(ReturnDocument::After)
            .write_concern(write_concern())
            .max_time(SERVER_TIMEOUT)
            .build();
        let mut session = within(REQUEST_TIMEOUT, self.client.start_session()).await?;
        let checkpoints = self.database.collection::<Document>(CHECKPOINTS);
        let claim = checkpoints
            .find_one_and_update(doc! { "_id": id }, update)
            .with_options(options)
            .session(&mut session);
        let claimed = within(REQUEST_TIMEOUT, claim).await?;
        self.note(&session);
        let claimed = claimed.ok_or(Failure::Reply("a claim answered without its checkpoint"))?;
        read_claim(&claimed)
    }

    pub(super) async fn read_checkpoint(
        &self,
        checkpoint: &CheckpointId,
    ) -> Result<Option<Claim>, Error> {
        let found = self.read_checkpoints([checkpoint]).await;
        let mut found = found.map_err(|failure| failure.at(&self.place("read checkpoints")))?;
        Ok(found.pop().flatten())
    }

    /// One answer per checkpoint, in their order.
    pub(super) async fn read_checkpoints(
        &self,
        checkpoints: impl IntoIterator<Item = &CheckpointId>,
    ) -> Result<Vec<Option<Claim>>, Failure> {
        let ids: Vec<String> = checkpoints.into_iter().map(ToString::to_string).collect();
        let mut found = vec![None; ids.len()];
        let filter = super::load::ids_filter(ids.iter().map(String::as_str));
        let find = self.find(CHECKPOINTS, filter, ids.len());
        self.for_each(find, |document| {
            let document = Document::try_from(document).map_err(mongodb::error::Error::from)?;
            let id = document.get_str("_id").unwrap_or_default();
            if let Some(index) = ids.iter().position(|wanted| wanted == id) {
                found[index] = Some(read_claim(&document)?);
            }
            Ok::<(), Failure>(())
        })
        .await?;
        Ok(found)
    }
}

fn read_claim(document: &Document) -> Result<Claim, Failure> {
    match (document.get_i64("epoch"), document.get_i64("next")) {
        (Ok(epoch), Ok(next)) => Ok(Claim {
            epoch: Epoch(epoch),
            next: NextOffset(next),
        }),
        _ => Err(Failure::Reply("a checkpoint has no valid epoch and next")),
    }
}
