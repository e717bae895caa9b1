//! Takes partitions over, and reads how far they are.
//!
//! Guarantee: a claim that answers has raised the epoch, on a majority. One that fails may have
//! raised it too, which only costs a number.

use std::time::Duration;

use bson::{Bson, Document, doc};
use mongodb::error::Error as DriverError;
use mongodb::options::{FindOneAndUpdateOptions, ReturnDocument};

use super::command::CHECKPOINTS;
use super::connect::write_concern;
use super::error::{Failure, code};
use super::load::ids_filter;
use super::{MongoStore, SERVER_TIMEOUT, sessions};
use crate::record::{Epoch, LastRecord, LeaderEpoch, Lineage, NextOffset, Offset, TopicId};
use crate::store::{CheckpointId, Claim, Error};

/// Two first claims of a partition may both insert; the second time around it exists.
const CLAIMS_MAX: u32 = 3;

/// How long to wait for a transaction that holds the checkpoint. One that is alive takes less.
const PATIENCE: Duration = Duration::from_secs(1);

/// A checkpoint as it is stored.
struct Checkpoint {
    claim: Claim,
    lineage: Lineage,
    /// The ids of its owner's sessions.
    sessions: Vec<Bson>,
}

impl MongoStore {
    pub(super) async fn claim_checkpoint(
        &self,
        checkpoint: &CheckpointId,
        owner: &str,
        start: NextOffset,
    ) -> Result<Claim, Error> {
        self.take_over(&checkpoint.to_string(), owner, start)
            .await
            .map_err(|failure| failure.at(&self.place("claim partitions")))
    }

    async fn take_over(&self, id: &str, owner: &str, start: NextOffset) -> Result<Claim, Failure> {
        let mut patience = PATIENCE;
        let mut claims = 1;
        let before = loop {
            let failure = match self.raise_epoch(id, owner, start, patience).await {
                Ok(before) => break before,
                Err(failure) => failure,
            };
            let again = claims < CLAIMS_MAX;
            match failure.code() {
                Some(code::DUPLICATE_KEY) if again => {}
                // The last owner was killed or stopped between its last write and its commit.
                Some(code::MAX_TIME_EXPIRED) if again => {
                    let last = self.read_checkpoints(&[id.to_owned()]).await?.pop();
                    self.end_sessions_of(last.flatten().as_ref()).await;
                    patience = SERVER_TIMEOUT;
                }
                _ => return Err(failure),
            }
            claims += 1;
        };
        // What the last owner still has open can no longer be stored, and would only be in the
        // way of the batch that is now folded again. Not before the claim: that would cut off
        // the answer to a commit that was just going through.
        self.end_sessions_of(before.as_ref()).await;
        Ok(match before {
            Some(Checkpoint { claim, .. }) => Claim {
                epoch: Epoch(claim.epoch.0 + 1),
                ..claim
            },
            None => Claim {
                epoch: Epoch(1),
                next: start,
                repairs: 0,
            },
        })
    }

    /// The claim itself. It is outside of any transaction, and waits for one that moves the same
    /// checkpoint: so either that one commits first, and its progress is read here, or it finds
    /// another epoch. Answers the checkpoint before; `None` where there was none.
    async fn raise_epoch(
        &self,
        id: &str,
        owner: &str,
        start: NextOffset,
        patience: Duration,
    ) -> Result<Option<Checkpoint>, Failure> {
        let update = doc! {
            // The repairs stay: checkpoints of earlier versions of this host get the field, which
            // commits look for.
            "$inc": { "epoch": 1_i64, "repairs": 0_i64 },
            "$set": { "owner": owner, "sessions": self.shared.sessions.ids() },
            "$currentDate": { "claimed_at": true },
            "$setOnInsert": { "next": start.0 },
        };
        let options = FindOneAndUpdateOptions::builder()
            .upsert(true)
            .return_document(ReturnDocument::Before)
            .write_concern(write_concern())
            .max_time(patience)
            .build();
        let id = id.to_owned();
        let claim = self.ask(|database| async move {
            let mut session = database.client().start_session().await?;
            let checkpoints = database.collection::<Document>(CHECKPOINTS);
            let before = checkpoints
                .find_one_and_update(doc! { "_id": id }, update)
                .with_options(options)
                .session(&mut session)
                .await?;
            Ok((before, session.operation_time()))
        });
        let (before, time) = claim.await?;
        self.note(time);
        before.map(read_checkpoint).transpose()
    }

    async fn end_sessions_of(&self, owner: Option<&Checkpoint>) {
        let sessions = owner.map_or(&[][..], |checkpoint| &checkpoint.sessions);
        let others = sessions
            .iter()
            .filter(|session| !self.shared.sessions.ids().contains(session));
        sessions::end(&self.operations, others).await;
    }

    /// One answer per id, in their order.
    pub(super) async fn read_claims(&self, ids: &[String]) -> Result<Vec<Option<Claim>>, Failure> {
        let found = self.read_checkpoints(ids).await?.into_iter();
        Ok(found.map(|found| found.map(|found| found.claim)).collect())
    }

    pub(super) async fn read_lineage(&self, id: &str) -> Result<Lineage, Failure> {
        let found = self.read_checkpoints(&[id.to_owned()]).await?.pop();
        Ok(found
            .flatten()
            .map(|found| found.lineage)
            .unwrap_or_default())
    }

    async fn read_checkpoints(&self, ids: &[String]) -> Result<Vec<Option<Checkpoint>>, Failure> {
        let mut found: Vec<Option<Checkpoint>> = ids.iter().map(|_| None).collect();
        let filter = ids_filter(ids.iter().map(String::as_str));
        let find = self.find(CHECKPOINTS, filter, ids.len());
        self.for_each(find, |document| {
            let document = Document::try_from(document).map_err(DriverError::from)?;
            let id = document.get_str("_id").unwrap_or_default();
            if let Some(index) = ids.iter().position(|wanted| wanted == id) {
                found[index] = Some(read_checkpoint(document)?);
            }
            Ok::<(), Failure>(())
        })
        .await?;
        Ok(found)
    }
}

fn read_checkpoint(mut document: Document) -> Result<Checkpoint, Failure> {
    let (Ok(epoch), Ok(next)) = (document.get_i64("epoch"), document.get_i64("next")) else {
        return Err(Failure::Reply("a checkpoint has no valid epoch and next"));
    };
    let repairs = match document.get("repairs") {
        Some(Bson::Int64(repairs)) => *repairs,
        None => 0,
        Some(_) => return Err(Failure::Reply("a checkpoint has no valid repairs")),
    };
    let sessions = match document.remove("sessions") {
        Some(Bson::Array(sessions)) => sessions,
        _ => Vec::new(),
    };
    Ok(Checkpoint {
        claim: Claim {
            epoch: Epoch(epoch),
            next: NextOffset(next),
            repairs,
        },
        lineage: read_lineage(&document),
        sessions,
    })
}

/// What earlier versions of this host have not stored is not known.
fn read_lineage(checkpoint: &Document) -> Lineage {
    let topic = checkpoint.get_str("topic_id").ok();
    let last = checkpoint.get_document("last").ok().and_then(|last| {
        Some(LastRecord {
            offset: Offset(last.get_i64("offset").ok()?),
            epoch: LeaderEpoch(last.get_i32("leader_epoch").ok()?),
        })
    });
    Lineage {
        topic: topic.and_then(TopicId::parse),
        last,
    }
}
