//! What to do about documents and messages that the store does not take: find the event that made
//! them so, then park its key, as after a plugin's fault; or stop, where the store takes nothing at
//! all, for parking would hide a mistake that is not the events'.
//!
//! A document may have been shaped by many events since it was stored last, and the store tells of
//! the last one at most. So the batch is halved until an event is alone: what is before it is
//! stored then, and what it makes of that is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::super::OnFault;
use super::super::committer::{Origin, Refusal};
use super::super::stop::StopReason;
use super::{Domain, Leaving, Reason};
use crate::projection::{Fault, FaultKind};
use crate::record::{Offset, TopicPartition};
use crate::store::{Change, EntryChange, Table, Write};

/// So many events whose documents a collection refuses, with none between that it takes, are no
/// events at fault: its rules are.
const REFUSED_MAX: usize = 10;

/// Events whose documents the store refused, by collection, since it last took one there.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<String, BTreeSet<(TopicPartition, Offset)>>);

impl Refusals {
    /// Counts an event, and says how many there are since something was stored there.
    fn refused(&mut self, collection: &str, partition: &TopicPartition, offset: Offset) -> usize {
        let events = self.0.entry(collection.to_owned()).or_default();
        events.insert((partition.clone(), offset));
        events.len()
    }

    /// Where these writes store documents and messages; empty while nothing is refused.
    pub(super) fn collections(
        &self,
        writes: &[Write],
        entries: &[EntryChange],
    ) -> BTreeSet<String> {
        if self.0.is_empty() {
            return BTreeSet::new();
        }
        let stores = |write: &&Write| !matches!(write.change, Change::Delete { .. });
        let documents = writes.iter().filter(stores);
        let documents = documents.map(|write| write.view.collection());
        let messages = entries.iter().filter_map(EntryChange::entry);
        let messages = messages.filter(|entry| entry.table == Table::Outbox);
        documents
            .chain(messages.map(|entry| entry.table.name().to_owned()))
            .collect()
    }

    /// The store has taken documents there.
    pub(super) fn taken(&mut self, collections: &BTreeSet<String>) {
        if collections.is_empty() {
            return;
        }
        // Of what it refused without a name, nobody knows better.
        self.0
            .retain(|name, _| !name.is_empty() && !collections.contains(name));
    }
}

impl Domain {
    /// Something of the commit under way is nothing that the store takes.
    pub(super) fn rejected(&mut self, refusal: &Refusal) {
        let in_flight = self.in_flight_events();
        let repair = self.repair_in_flight();
        self.retract();
        if let Some(partition) = repair {
            return match refusal.origin {
                Origin::Host => self.stop_refused(&partition, format!(": {}", refusal.reason)),
                Origin::Event(..) | Origin::SomeEvent => self.repair_too_large(unstorable(refusal)),
            };
        }
        let alone = match &in_flight[..] {
            [(partition, 1)] => Some(partition.clone()),
            _ => None,
        };
        match (alone, &refusal.origin) {
            (Some(partition), Origin::Host) => {
                self.stop_refused(&partition, format!(": {}", refusal.reason));
            }
            (Some(partition), _) => self.blame_for(&partition, refusal),
            (None, Origin::Event(partition, offset)) => {
                if let Some(member) = self.member_mut(partition) {
                    member.partition.narrow_before(*offset);
                }
            }
            (None, Origin::SomeEvent | Origin::Host) => self.halve(in_flight),
        }
    }

    /// What the first event of a partition makes, on top of what is stored, is refused.
    fn blame_for(&mut self, partition: &TopicPartition, refusal: &Refusal) {
        let member = self.member_mut(partition);
        let Some(offset) = member.and_then(|member| member.partition.first_waiting()) else {
            return;
        };
        let parks = self.parts.context.parking.on_fault == OnFault::Park;
        if let Some(trial) = &self.parts.running.version.trial {
            let (place, now) = ((partition.clone(), offset), Instant::now());
            let withdrawn = match parks {
                true => trial.fault(place, &refusal.reason, now),
                false => trial.stopped(&refusal.reason, now),
            };
            if withdrawn {
                return;
            }
        }
        let refused = self
            .refusals
            .refused(&refusal.collection, partition, offset);
        if parks && refused >= REFUSED_MAX {
            return self.stop_at_rules(partition, refused, refusal);
        }
        self.blame_first(partition, &unstorable(refusal));
    }

    /// Its rules, and no events, are why a store takes nothing.
    fn stop_at_rules(&mut self, partition: &TopicPartition, refused: usize, refusal: &Refusal) {
        let why = format!(
            ", nor what {} events before it made: {}; nothing is lost: mend the index, the \
             validator or the plugin, restart, then drain what is parked",
            refused - 1,
            refusal.reason
        );
        self.stop_refused(partition, why);
    }

    fn stop_refused(&mut self, partition: &TopicPartition, why: String) {
        let projection = Arc::clone(&self.parts.context.name);
        if let Some(member) = self.member_mut(partition) {
            let reason = StopReason::DocumentsRefused {
                projection,
                partition: partition.clone(),
                next: member.partition.stored(),
                why,
            };
            member.leaving = Some(Leaving::For(Reason::Stopped(reason)));
        }
    }
}

fn unstorable(refusal: &Refusal) -> Fault {
    Fault {
        kind: FaultKind::Unstorable,
        detail: refusal.reason.clone(),
        event: None,
        also: Vec::new(),
        rest: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_ends_the_row_of_its_collection_only() {
        let partition = TopicPartition::new("orders", 0);
        let mut refusals = Refusals::default();
        assert_eq!(refusals.refused("a.v1", &partition, Offset(1)), 1);
        assert_eq!(refusals.refused("a.v1", &partition, Offset(1)), 1, "again");
        assert_eq!(refusals.refused("a.v1", &partition, Offset(2)), 2);
        assert_eq!(refusals.refused("b.v1", &partition, Offset(3)), 1);
        refusals.taken(&["b.v1".to_owned()].into());
        assert_eq!(refusals.refused("a.v1", &partition, Offset(4)), 3);
        refusals.taken(&["a.v1".to_owned()].into());
        assert_eq!(refusals.refused("a.v1", &partition, Offset(5)), 1);
    }
}
