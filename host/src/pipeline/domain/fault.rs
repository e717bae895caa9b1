//! What to do about events that the projection cannot take: find the one at fault, try it again,
//! then park its key, or stop.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::warn;

use super::super::parking::Full;
use super::super::partition::Narrowed;
use super::super::sieve::Sifted;
use super::super::stop::StopReason;
use super::super::{DomainLayout, OnFault};
use super::fold::{Batch, Sift, Unfolded};
use super::{Domain, Leaving};
use crate::parked::{self, DETAIL_BYTES_MAX};
use crate::projection::{Fault, FaultKind};
use crate::record::{Offset, TopicPartition};
use crate::telemetry::health::PartitionState;
use crate::telemetry::recurring;
use crate::unix_time::now_ms;

/// How often an event is folded alone, each time by a new instance, before it is at fault. What a
/// plugin rejects by name is at fault at once: its word is as good the second time.
const TRIES: u32 = 3;

impl Domain {
    /// The plugin could not fold all events of a batch that were to be folded. Of the others,
    /// takes over what it made of them.
    pub(super) async fn faulty(
        &mut self,
        batch: &Batch,
        sift: &Sift<'_>,
        sifted: &Sifted,
        mut fault: Fault,
        plugin: &Arc<str>,
    ) -> Result<(), Unfolded> {
        let rest = fault.rest.take();
        let parks = self.fault(batch, &sifted.fold, &fault, plugin);
        match rest {
            Some(rest) if parks => {
                self.take_rest(batch, sift, sifted, &fault, *rest, plugin)
                    .await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The plugin could not fold the events at these indices of a batch. True where those at
    /// fault are to be parked.
    fn fault(&mut self, batch: &Batch, folded: &[usize], fault: &Fault, plugin: &Arc<str>) -> bool {
        let parks = self.parts.context.parking.on_fault == OnFault::Park;
        let member = &mut self.members[batch.member];
        let named = fault.event.and_then(|event| folded.get(event));
        let culprit = match (fault.kind, named) {
            (FaultKind::Rejected, Some(&index)) if parks => index,
            _ => match member.partition.fault(folded, fault.event) {
                Narrowed::Retry => return false,
                Narrowed::Culprit(index) => index,
            },
        };
        // The fault may be that of a document which another host has changed since.
        if self.parts.context.layout == DomainLayout::Joined && !self.fresh {
            self.cache_mut().forget_stored();
            self.fresh = true;
            return false;
        }
        let offset = batch.events[culprit].offset;
        if fault.kind != FaultKind::Rejected && self.try_again(batch.member, offset) {
            return false;
        }
        let also = fault.also.iter().filter(|_| parks);
        let also = also.filter_map(|rejected| {
            let index = folded.get(rejected.event)?;
            Some((*index, &*rejected.detail))
        });
        let culprits = std::iter::once((culprit, &*fault.detail));
        let culprits: Vec<(usize, &str)> = culprits.chain(also).collect();
        if self.is_withdrawn_for(batch, &culprits, fault.kind) {
            return false;
        }
        if parks {
            for (index, detail) in culprits {
                self.park(batch, index, because(fault.kind, detail, plugin));
            }
        } else {
            self.stop_at(&batch.partition, offset, fault);
        }
        parks
    }

    /// Counts events that are at fault. True where the version is to be withdrawn for them: they
    /// are left for the one that follows.
    fn is_withdrawn_for(&self, batch: &Batch, faults: &[(usize, &str)], kind: FaultKind) -> bool {
        let version = &self.parts.running.version;
        let now = Instant::now();
        let parks = self.parts.context.parking.on_fault == OnFault::Park;
        let mut withdrawn = false;
        for (index, detail) in faults {
            let place = (batch.partition.clone(), batch.events[*index].offset);
            version.crashes.fault(place.clone(), kind, detail, now);
            if let Some(trial) = &version.trial {
                let what = format!("{kind}: {detail}");
                withdrawn |= match parks {
                    true => trial.fault(place, &what, now),
                    false => trial.stopped(&what, now),
                };
            }
        }
        withdrawn
    }

    /// A plugin that has crashed too often stops, with everything it has folded stored. False where
    /// nothing is to be stopped.
    pub(super) fn stop_where_crashed(&mut self) -> bool {
        let exhausted = self.parts.running.version.crashes.exhausted();
        exhausted.is_some_and(|reason| self.stop_members(&reason.into()))
    }

    /// An event of a batch is to be parked as soon as it is sifted again.
    fn park(&mut self, batch: &Batch, index: usize, reason: parked::Reason) {
        let projection = &self.parts.context.name;
        let offset = batch.events[index].offset;
        let why = format!("{}: {}", reason.kind, reason.detail);
        if batch.events[index].key().is_some() {
            if recurring::admit("parked", projection, &why) {
                warn!(
                    %projection, partition = %batch.partition, offset = offset.0,
                    "parked, with the later events of its key: {why}"
                );
            }
        } else if let Some(events) = self.keyless.note(1, Instant::now()) {
            warn!(
                %projection, partition = %batch.partition, offset = offset.0, events,
                "events without a key were parked, the last one at this offset: {why}; \
                 without-key = \"ignore\" passes over such events",
            );
        }
        self.members[batch.member].sieve.blame(offset, reason);
    }

    /// True where an event that was folded alone is to be folded once more.
    fn try_again(&mut self, member: usize, offset: Offset) -> bool {
        let tried = &mut self.members[member].tried;
        let tries = match *tried {
            Some((event, tries)) if event == offset => tries + 1,
            Some(_) | None => 1,
        };
        *tried = Some((offset, tries));
        if tries >= TRIES {
            return false;
        }
        self.retry_at = Some(Instant::now() + self.backoff.next_delay());
        true
    }

    /// The first event of a partition that is not folded is at fault.
    pub(super) fn blame_first(&mut self, partition: &TopicPartition, fault: &Fault) {
        let parks = self.parts.context.parking.on_fault == OnFault::Park;
        let plugin = Arc::clone(&self.parts.running.version.hash);
        let Some(member) = self.member_mut(partition) else {
            return;
        };
        let Some(offset) = member.partition.first_waiting() else {
            return;
        };
        if parks {
            member.sieve.blame(offset, reason(fault, &plugin));
            // It is parked alone. Where the next event cannot be stored either, a commit of both
            // would come to nothing, and with it who is to blame for this one: again and again.
            member.partition.narrow(1);
            let projection = &self.parts.context.name;
            if recurring::admit("parked", projection, &fault.to_string()) {
                warn!(
                    %projection, %partition, offset = offset.0,
                    "parked, with the later events of its key: {fault}"
                );
            }
        } else {
            self.stop_at(partition, offset, fault);
        }
    }

    fn stop_at(&mut self, partition: &TopicPartition, offset: Offset, fault: &Fault) {
        let reason = StopReason::EventRefused {
            projection: Arc::clone(&self.parts.context.name),
            partition: partition.clone(),
            offset,
            why: format!(
                ": {fault}; nothing is lost: every event before it is stored, and after a restart \
                 with a plugin that can fold it the partition goes on from there"
            ),
        };
        if let Some(member) = self.member_mut(partition) {
            member.leaving = Some(Leaving::AtFault(reason));
        }
    }

    /// The next event of a partition has to be parked, and cannot be: it stands still there, until
    /// something that is parked is folded or skipped.
    pub(super) fn full(&mut self, batch: &Batch, sifted: &Sifted) {
        let (Some(full), Some(event)) = (sifted.full, batch.events.first()) else {
            return;
        };
        let projection = &self.parts.context.name;
        let (partition, offset) = (&batch.partition, event.offset);
        let reason = StopReason::EventRefused {
            projection: Arc::clone(projection),
            partition: partition.clone(),
            offset,
            why: format!(", nor park it: {full}; nothing is lost: {}", way_out(full)),
        };
        let what = format!("{partition}: {full}");
        if recurring::admit("stands still", projection, &what) {
            tracing::error!(%projection, %partition, "stands still: {reason}");
        }
        self.parts.context.health.set_partition(
            projection,
            partition,
            PartitionState::Stopped {
                code: reason.code(),
                reason: reason.to_string(),
            },
        );
        self.members[batch.member].full = Some(reason);
    }
}

fn way_out(full: Full) -> &'static str {
    match full {
        Full::Keys(_) | Full::EventsOfKey(_) | Full::Bytes(_) => {
            "see what is parked with \"projectionist parked list\", and drain or skip it, or raise \
             the limit and restart"
        }
        Full::Event(_) => {
            "after a restart with a plugin that can fold it the partition goes on from there"
        }
    }
}

pub(super) fn reason(fault: &Fault, plugin: &str) -> parked::Reason {
    because(fault.kind, &fault.detail, plugin)
}

fn because(kind: FaultKind, detail: &str, plugin: &str) -> parked::Reason {
    parked::Reason {
        kind: kind.to_string(),
        detail: detail[..detail.floor_char_boundary(DETAIL_BYTES_MAX)].to_owned(),
        plugin: plugin.to_owned(),
        at_ms: now_ms(),
    }
}
