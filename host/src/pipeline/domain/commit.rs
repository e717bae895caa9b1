//! One commit at a time: what is handed to the committer, and what its outcome means.

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;

use super::super::DomainLayout;
use super::super::cache::CommitNumber;
use super::super::committer::{Outcome, Submission};
use super::{CONTENDED_COMMITS, Domain, InFlight, Leaving, Reason, checkpoint_id};
use crate::projection::DocumentId;
use crate::record::TopicPartition;
use crate::store::{Advance, Repairs, Table, ViewId};

impl Domain {
    /// Hands everything folded to the committer, if it has nothing of this domain.
    pub(super) async fn submit(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        assert!(
            !self.tainted,
            "what is given up is retracted with the outcome of the commit"
        );
        let mut advances = Vec::new();
        for member in &mut self.members {
            if let Some(step) = member.partition.submit() {
                advances.push(Advance {
                    checkpoint: checkpoint_id(&self.parts.context, member.partition.id()),
                    epoch: member.epoch,
                    from: step.from,
                    to: step.to,
                    repairs: Repairs {
                        from: member.repairs,
                        to: member.repairs,
                    },
                });
            }
        }
        if advances.is_empty() {
            return;
        }
        let (reply, answer) = oneshot::channel();
        let submission = Submission {
            bytes: self.pending.bytes(),
            writes: self.pending.take(),
            entries: Vec::new(),
            advances,
            reply,
        };
        self.commits.0 += 1;
        self.in_flight = Some(InFlight {
            number: self.commits,
            reply: answer,
        });
        // Where the committer has ended, the reply is dropped with the submission, and that is
        // noticed like any other commit that came to nothing.
        self.parts.committer.submit(submission).await;
    }

    pub(super) fn poll_commit(&mut self) -> Option<Outcome> {
        match self.in_flight.as_mut()?.reply.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(ended()),
        }
    }

    pub(super) async fn committed(&mut self, outcome: Outcome) {
        let in_flight = self.in_flight.take().expect("an outcome answers a commit");
        match outcome {
            Outcome::Stored => self.stored(in_flight.number),
            Outcome::Fenced(checkpoints) => {
                let fenced: Vec<TopicPartition> = self
                    .members
                    .iter()
                    // One that was abandoned and came back meanwhile has a claim of its own.
                    .filter(|member| member.partition.is_in_flight())
                    .map(|member| member.partition.id().clone())
                    .filter(|id| checkpoints.iter().any(|fenced| fenced.partition == *id))
                    .collect();
                let fenced = self.take_members(&fenced);
                self.announce_all(fenced, || Reason::Fenced).await;
                self.retract();
            }
            Outcome::Mismatch { view, id } => self.mismatch(view, id),
            Outcome::EntryMismatch { table, id } => self.entry_mismatch(table, &id),
            Outcome::TooLarge(reason) => self.too_large(&reason),
            Outcome::Refused(reason) => self.stop_all(&reason),
        }
        if std::mem::take(&mut self.tainted) {
            self.retract();
        }
    }

    fn stored(&mut self, number: CommitNumber) {
        let context = &self.parts.context;
        for member in &mut self.members {
            let freed = member.partition.commit();
            let next = member.partition.stored();
            member.queue.set_stored(next);
            member.queue.release(freed.events, freed.bytes);
            context
                .health
                .set_next(&context.projection, member.partition.id(), next);
            metrics::counter!(
                "projectionist_events_stored_total",
                "projection" => context.projection.to_string(),
            )
            .increment(freed.events as u64);
        }
        self.suspect = None;
        self.contended = self.contended.saturating_sub(1);
        let contended = self.contended > 0;
        let cache = self.cache_mut();
        cache.set_stored(number);
        if contended {
            cache.clear();
        } else {
            cache.trim();
            self.backoff.reset();
        }
    }

    /// A document was not as this domain left it.
    fn mismatch(&mut self, view: ViewId, id: DocumentId) {
        self.retract();
        if self.parts.context.layout == DomainLayout::Joined {
            // Another host was faster. Fold again on what it stored.
            self.contended = CONTENDED_COMMITS;
            self.retry_at = Some(Instant::now() + self.backoff.next_delay() / 8);
            return;
        }
        let known = self.suspect.as_ref() == Some(&(view.clone(), DocumentId::clone(&id)));
        if known {
            let projection = &self.parts.context.projection;
            let reason = format!(
                "document \"{id}\" of view {view} was changed by somebody else; only projection \
                 \"{projection}\" may write there, so keep others away from the collection, restore \
                 the document and start again"
            );
            self.stop_all(&reason);
        } else {
            warn!(projection = %self.parts.context.projection, "a document changed under this host; reading it again");
            self.suspect = Some((view, id));
        }
    }

    /// An entry was not as this domain left it, though no other domain writes it.
    fn entry_mismatch(&mut self, table: Table, id: &str) {
        let projection = &self.parts.context.projection;
        let reason = format!(
            "entry \"{id}\" of {table} was changed by somebody else; only projection \
             \"{projection}\" may change it, so keep others away from {table}, and start again"
        );
        self.stop_all(&reason);
    }

    /// The commit was more than a transaction takes: the next ones are of half as many events.
    fn too_large(&mut self, reason: &str) {
        let sizes: Vec<(TopicPartition, usize)> = self
            .members
            .iter()
            .map(|member| {
                (
                    member.partition.id().clone(),
                    member.partition.in_flight_events(),
                )
            })
            .filter(|(_, events)| *events > 0)
            .collect();
        self.retract();
        let single = sizes.iter().map(|(_, events)| events).sum::<usize>() == 1;
        for (partition, events) in sizes {
            if single {
                self.stop_at_first_waiting(&partition, |projection, event| {
                    format!(
                        "the documents that projection \"{projection}\" makes of {event} are too \
                         large for one transaction: {reason}"
                    )
                });
            } else if let Some(member) = self.member_mut(&partition) {
                member.partition.narrow(events);
            }
        }
    }

    /// What is folded and not stored comes to nothing: the store is read again.
    pub(super) fn retract(&mut self) {
        self.pending.clear();
        self.cache_mut().clear();
        for member in &mut self.members {
            member.partition.retract();
            if matches!(member.leaving, Some(Leaving::AtFault(_))) {
                member.leaving = None;
            }
        }
    }

    /// The same, as soon as it is known what became of the commit under way.
    pub(super) fn retract_when_known(&mut self) {
        if self.in_flight.is_some() {
            self.tainted = true;
        } else {
            self.retract();
        }
    }
}

/// The outcome of the commit under way; never, where there is none.
pub(super) async fn wait_for(in_flight: &mut Option<InFlight>) -> Outcome {
    match in_flight {
        Some(in_flight) => (&mut in_flight.reply).await.unwrap_or_else(|_| ended()),
        None => std::future::pending().await,
    }
}

/// What a commit counts as whose committer has ended.
fn ended() -> Outcome {
    Outcome::Refused("the committer has ended unexpectedly; restart the host".to_owned())
}
