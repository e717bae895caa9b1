//! The lanes of one domain: a batch is split by the slots of its keys, folded by all of them at
//! once, and joined again.
//!
//! Guarantees:
//! - Events of one key are folded in one lane, in their order: all of a batch's parts are back
//!   before the next batch is split, so a slot moves between lanes in between only.
//! - What comes out is what one lane would have made of the whole batch. Only domains in which a
//!   document's id is its event's key have more than one lane, so no two parts share a document.
//!
//! Not here: which lane a slot is given (`balance`).

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::lane::{Fold, Folded, Lane, LaneEnded};
use crate::balance::slots::{Load, Table, slot};
use crate::projection::{Error, Fault, FaultKind, Held, Output, Rejected};
use crate::record::Event;

/// Where slots are folded, as somebody else decides.
#[derive(Clone, Debug)]
pub struct Placement {
    table: watch::Receiver<Arc<Table>>,
    load: Arc<Load>,
}

impl Placement {
    /// `load` is what the lanes tell of their work.
    pub fn new(table: watch::Receiver<Arc<Table>>, load: Arc<Load>) -> Self {
        Placement { table, load }
    }

    /// The built-in placement, for good.
    pub fn hash(lanes: usize) -> Self {
        let (_, table) = watch::channel(Arc::new(Table::hash(lanes)));
        Placement::new(table, Arc::default())
    }

    /// How many lanes a domain has.
    pub fn lanes(&self) -> usize {
        self.table.borrow().lanes()
    }
}

/// One lane or several. Dropping them ends their threads.
#[derive(Debug)]
pub struct Lanes {
    /// Never empty.
    lanes: Vec<Lane>,
    placement: Placement,
}

/// The part of a batch that one lane folds.
struct Part {
    lane: usize,
    /// Indices in the batch, ascending.
    indices: Vec<usize>,
}

impl Lanes {
    /// # Panics
    ///
    /// If there is no lane, or another number of several than the placement has.
    pub fn new(lanes: Vec<Lane>, placement: Placement) -> Self {
        assert!(lanes.len() == 1 || lanes.len() == placement.lanes());
        Lanes { lanes, placement }
    }

    pub async fn fold(&self, fold: Fold) -> Result<Folded, LaneEnded> {
        let [lane] = &self.lanes[..] else {
            return self.fork(fold).await;
        };
        lane.fold(fold).await
    }

    async fn fork(&self, fold: Fold) -> Result<Folded, LaneEnded> {
        let slots: Vec<usize> = fold.events.iter().map(|event| slot(event.key())).collect();
        let table = Arc::clone(&self.placement.table.borrow());
        let parts = split(&slots, &table);
        if let [part] = &parts[..] {
            return self.fold_part(part, &slots, fold).await;
        }
        let folds = parts.iter().map(|part| {
            let events = part.indices.iter();
            let events = events.map(|&index| Arc::clone(&fold.events[index]));
            let own = Fold {
                partition: fold.partition.clone(),
                events: events.collect(),
                cache: Arc::clone(&fold.cache),
            };
            self.fold_part(part, &slots, own)
        });
        // All of them, whatever becomes of one: a lane that has its part holds on to the cache.
        let folded: Result<Vec<Folded>, LaneEnded> = join_all(folds).await.into_iter().collect();
        Ok(join(fold.events, &parts, folded?))
    }

    async fn fold_part(
        &self,
        part: &Part,
        slots: &[usize],
        fold: Fold,
    ) -> Result<Folded, LaneEnded> {
        let started = Instant::now();
        let folded = self.lanes[part.lane].fold(fold).await?;
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let each = nanos / part.indices.len() as u64;
        for &index in &part.indices {
            self.placement.load.add(slots[index], each);
        }
        Ok(folded)
    }
}

/// The events of each lane that has any. `slots` are the events', in their order.
fn split(slots: &[usize], table: &Table) -> Vec<Part> {
    let mut parts: Vec<Part> = (0..table.lanes())
        .map(|lane| Part {
            lane,
            indices: Vec::with_capacity(slots.len() / table.lanes() + 1),
        })
        .collect();
    for (index, &slot) in slots.iter().enumerate() {
        parts[table.lane(slot)].indices.push(index);
    }
    parts.retain(|part| !part.indices.is_empty());
    parts
}

/// What all parts came to, with indices in the whole batch.
fn join(events: Vec<Arc<Event>>, parts: &[Part], folded: Vec<Folded>) -> Folded {
    let plugin = Arc::clone(&folded[0].plugin);
    let mut loaded = Vec::new();
    let mut held = Held::default();
    let mut outputs = Vec::new();
    let mut faults = Vec::new();
    let mut host_error = None;
    for (part, folded) in parts.iter().zip(folded) {
        loaded.extend(folded.loaded);
        held.join(folded.held);
        match folded.result {
            Ok(output) => outputs.push(in_batch(output, part)),
            Err(Error::Fault(fault)) => faults.push(fault_in_batch(fault, part)),
            Err(Error::Host(error)) => host_error = Some(error),
        }
    }
    let result = match host_error {
        Some(error) => Err(Error::Host(error)),
        None if faults.is_empty() => Ok(join_outputs(outputs)),
        None => Err(Error::Fault(join_faults(faults, outputs))),
    };
    Folded {
        events,
        result,
        plugin,
        loaded,
        held,
    }
}

fn in_batch(mut output: Output, part: &Part) -> Output {
    for write in &mut output.writes {
        write.event = part.indices[write.event];
    }
    for message in &mut output.messages {
        message.event = part.indices[message.event];
    }
    output
}

fn fault_in_batch(mut fault: Fault, part: &Part) -> Fault {
    fault.event = fault.event.map(|event| part.indices[event]);
    for rejected in &mut fault.also {
        rejected.event = part.indices[rejected.event];
    }
    fault.rest = fault.rest.map(|rest| Box::new(in_batch(*rest, part)));
    fault
}

fn join_outputs(outputs: Vec<Output>) -> Output {
    let mut outputs = outputs.into_iter();
    let mut joined = outputs.next().unwrap_or_default();
    for output in outputs {
        joined.writes.extend(output.writes);
        joined.messages.extend(output.messages);
        joined.held.join(output.held);
    }
    // Messages of one event are of one lane, in their order.
    joined.messages.sort_by_key(|message| message.event);
    joined
}

/// One fault for all. Where every one of them names what it rejects, so does this one; else it is
/// the first that does not, and what the others reject is found when that is dealt with.
fn join_faults(faults: Vec<Fault>, mut outputs: Vec<Output>) -> Fault {
    let names_it = |fault: &Fault| fault.kind == FaultKind::Rejected && fault.event.is_some();
    let mut named: Vec<Rejected> = Vec::new();
    let mut all_have_rest = true;
    for fault in faults {
        let Some(event) = fault.event.filter(|_| names_it(&fault)) else {
            return Fault {
                rest: None,
                ..fault
            };
        };
        let detail = fault.detail;
        named.push(Rejected { event, detail });
        named.extend(fault.also);
        match fault.rest {
            Some(rest) => outputs.push(*rest),
            None => all_have_rest = false,
        }
    }
    named.sort_by_key(|rejected| rejected.event);
    let mut named = named.into_iter();
    let first = named.next().expect("every fault that is joined names one");
    Fault {
        kind: FaultKind::Rejected,
        detail: first.detail,
        event: Some(first.event),
        also: named.collect(),
        rest: all_have_rest.then(|| Box::new(join_outputs(outputs))),
    }
}

#[cfg(test)]
mod tests;
