//! One commit at a time: what is handed to the committer, and what its outcome means.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;

use super::super::committer::{Outcome, Submission};
use super::super::dedupe::stored;
use super::super::outbox;
use super::super::parking::KeyChange;
use super::super::sieve::{Changes, Scope};
use super::super::stop::StopReason;
use super::super::{Context, DomainLayout};
use super::repair::too_large;
use super::{CONTENDED_COMMITS, Domain, InFlight, Leaving, Member, Reason, Repairing};
use crate::parked;
use crate::projection::DocumentId;
use crate::record::{Lineage, TopicPartition};
use crate::store::{self, Advance, EntryChange, Table, ViewId};
use crate::telemetry::recurring;

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
        let mut bookkeeping = Vec::new();
        for member in &mut self.members {
            if let Some(advance) = member.submit() {
                bookkeeping.extend(sieve_changes(member, &self.parts.context));
                advances.push(advance);
            }
        }
        if advances.is_empty() {
            return;
        }
        let (reply, answer) = oneshot::channel();
        let bytes =
            self.pending.bytes() + bookkeeping.iter().map(EntryChange::bytes).sum::<usize>();
        let held = self.pending.take_held();
        let (writes, mut entries) = self.pending.take();
        entries.extend(bookkeeping);
        let outgoing = entries.iter().filter_map(EntryChange::entry);
        let outgoing = outgoing.filter(|entry| entry.table == Table::Outbox);
        let messages = outgoing.map(|entry| Arc::clone(&entry.id)).collect();
        let told = writes
            .iter()
            .filter(|_| self.parts.context.commits.is_some());
        let documents = told.map(|write| (write.view.clone(), Arc::clone(&write.id)));
        let documents = documents.collect();
        let collections = self.refusals.collections(&writes, &entries);
        let submission = Submission {
            writes,
            entries,
            advances,
            bytes,
            held,
            reply,
        };
        self.commits.0 += 1;
        self.in_flight = Some(InFlight {
            number: self.commits,
            messages,
            documents,
            collections,
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
        if let Some(commits) = &self.parts.context.commits {
            match outcome {
                Outcome::Stored => commits.stored(&in_flight.documents),
                // None of these is stored, as far as this host knows.
                _ => commits.lost(),
            }
        }
        match outcome {
            Outcome::Stored => self.stored(&in_flight),
            Outcome::Fenced(checkpoints) => {
                let fenced: Vec<TopicPartition> = self
                    .members
                    .iter()
                    // One that was abandoned and came back meanwhile has a claim of its own.
                    .filter(|member| member.is_in_flight())
                    .map(|member| member.partition.id().clone())
                    .filter(|id| checkpoints.iter().any(|fenced| fenced.partition == *id))
                    .collect();
                self.fenced(&fenced).await;
            }
            Outcome::Mismatch { view, id } => self.mismatch(view, id),
            Outcome::EntryMismatch { table, id } => self.entry_mismatch(table, &id),
            Outcome::TooLarge(reason) => self.too_large(&reason),
            Outcome::Rejected(refusal) => self.rejected(&refusal),
            Outcome::Refused(reason) => self.stop_all(&StopReason::StoreRefused(reason)),
        }
        if std::mem::take(&mut self.tainted) {
            self.retract();
        }
    }

    /// Other hosts have claimed these partitions.
    pub(super) async fn fenced(&mut self, partitions: &[TopicPartition]) {
        let fenced = self.take_members(partitions);
        self.announce_all(fenced, || Reason::Fenced).await;
        self.retract();
    }

    fn stored(&mut self, in_flight: &InFlight) {
        let context = &self.parts.context;
        let mut repaired = false;
        for member in &mut self.members {
            let freed = member.partition.commit();
            let next = member.partition.stored();
            member.sieve.commit(next);
            if member.repairing == Repairing::InFlight {
                member.repairing = Repairing::No;
                member.repairs += 1;
                repaired = true;
            }
            member.report(context);
            if let Some(relay) = &member.relay {
                let prefix = outbox::prefix(&member.checkpoint);
                let messages = in_flight.messages.iter();
                relay.stored(messages.filter(|id| id.starts_with(&prefix)));
            }
            member.queue.set_stored(next);
            member.queue.release(freed.events, freed.bytes);
            if let Some(commits) = &context.commits {
                commits.moved(member.partition.id(), next);
            }
            context
                .health
                .set_next(&context.name, member.partition.id(), next);
            metrics::counter!(
                "projectionist_events_stored_total",
                "projection" => context.name.to_string(),
            )
            .increment(freed.events as u64);
        }
        if repaired {
            self.repaired();
        }
        self.refusals.taken(&in_flight.collections);
        self.suspect = None;
        self.contended = self.contended.saturating_sub(1);
        let contended = self.contended > 0;
        self.cache_mut().set_stored(in_flight.number);
        if contended {
            self.cache_mut().clear();
        } else {
            self.trim_cache();
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
            let projection = Arc::clone(&self.parts.context.name);
            self.stop_all(&StopReason::DocumentChanged {
                projection,
                view,
                id,
            });
        } else {
            let projection = &self.parts.context.name;
            let what = "a document changed under this host; reading it again";
            if recurring::admit("read again", projection, what) {
                warn!(%projection, "{what}");
            }
            self.suspect = Some((view, id));
        }
    }

    /// An entry was not as this domain left it.
    fn entry_mismatch(&mut self, table: Table, id: &Arc<str>) {
        self.retract();
        if table == Table::SeenIds {
            // Another partition has seen the id meanwhile. Sifted again, its event is a duplicate.
            self.retry_at = Some(Instant::now() + self.backoff.next_delay() / 8);
            return;
        }
        let projection = Arc::clone(&self.parts.context.name);
        self.stop_all(&StopReason::EntryChanged {
            projection,
            table,
            id: Arc::clone(id),
        });
    }

    /// The commit was more than a transaction takes: the next ones are of half as many events.
    fn too_large(&mut self, reason: &str) {
        let in_flight = self.in_flight_events();
        let repair = self.repair_in_flight().is_some();
        self.retract();
        if repair {
            return self.repair_too_large(too_large(reason.to_owned()));
        }
        match &in_flight[..] {
            [(partition, 1)] => self.blame_first(partition, &too_large(reason.to_owned())),
            _ => self.halve(in_flight),
        }
    }

    /// The next commits of these partitions are of half as many events.
    pub(super) fn halve(&mut self, in_flight: Vec<(TopicPartition, usize)>) {
        for (partition, events) in in_flight {
            if let Some(member) = self.member_mut(&partition) {
                member.partition.narrow(events);
            }
        }
    }

    /// Of which partitions how many events are in the commit under way.
    pub(super) fn in_flight_events(&self) -> Vec<(TopicPartition, usize)> {
        let members = self.members.iter();
        let events = members.map(|member| {
            let events = member.partition.in_flight_events();
            (member.partition.id().clone(), events)
        });
        events.filter(|(_, events)| *events > 0).collect()
    }

    /// The partition of which the commit under way carries out a request.
    pub(super) fn repair_in_flight(&self) -> Option<TopicPartition> {
        let mut members = self.members.iter();
        let member = members.find(|member| member.repairing == Repairing::InFlight)?;
        Some(member.partition.id().clone())
    }

    /// What is folded and not stored comes to nothing: the store is read again.
    pub(super) fn retract(&mut self) {
        self.pending.clear();
        self.cache_mut().clear();
        self.repair_again();
        for member in &mut self.members {
            member.partition.retract();
            member.sieve.retract();
            member.repairing = Repairing::No;
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

impl Member {
    /// What a commit of everything pending moves; `None` where nothing is pending.
    fn submit(&mut self) -> Option<Advance> {
        let stored = self.partition.stored();
        let repair = self.repairing == Repairing::Pending;
        let step = self.partition.submit();
        if step.is_none() && !repair {
            return None;
        }
        if repair {
            self.repairing = Repairing::InFlight;
        }
        Some(Advance {
            checkpoint: self.checkpoint.clone(),
            epoch: self.epoch,
            from: stored,
            to: step.map_or(stored, |step| step.to),
            lineage: Lineage {
                topic: self.topic,
                last: step.map_or(self.partition.last(), |step| step.last),
            },
            repairs: store::Repairs {
                from: self.repairs,
                to: self.repairs + i64::from(repair),
            },
        })
    }

    fn report(&self, context: &Context) {
        let parking = self.sieve.parking();
        let mut numbers = vec![
            ("projectionist_parked_keys", parking.keys() as f64),
            ("projectionist_parked_events", parking.events() as f64),
        ];
        if let Some(window) = self.sieve.window() {
            numbers.extend([
                ("projectionist_dedupe_ids", window.len() as f64),
                ("projectionist_dedupe_bytes", window.size_bytes() as f64),
            ]);
        }
        let partition = &self.checkpoint.partition;
        context
            .health
            .set_gauges(&context.name, partition, &numbers);
    }
}

/// What a commit stores of a member's ids and parked keys.
fn sieve_changes(member: &mut Member, context: &Context) -> Vec<EntryChange> {
    let Changes { segments, keys } = member.sieve.submit();
    let checkpoint = &member.checkpoint;
    let mut changes = stored::segment_changes(checkpoint, &segments);
    let scope = context.dedupe.as_ref().map(|dedupe| dedupe.scope);
    if scope == Some(Scope::Projection) {
        changes.extend(stored::id_changes(checkpoint, &context.writer(), &segments));
    }
    changes.extend(keys.into_iter().map(|change| match change {
        KeyChange::Insert(key) => EntryChange::Insert(key.to_entry(checkpoint)),
        KeyChange::Replace(key) => EntryChange::Replace(key.to_entry(checkpoint)),
        KeyChange::Remove(first) => EntryChange::Remove {
            table: Table::ParkedKeys,
            id: parked::key_id(checkpoint, first),
        },
    }));
    changes
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
