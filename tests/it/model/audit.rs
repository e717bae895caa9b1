//! What must be true of the store, whoever stored what.

use std::collections::BTreeMap;

use projectionist::parked::{self, KeyEntry};
use projectionist::pipeline::dedupe::{IdHash, Segment, stored};
use projectionist::record::{Event, Offset};
use projectionist::store::{Entry, Table};

use super::owner::CHECKPOINT;
use super::repair::IN_VAIN;
use super::topic::{Account, Record, Topic, WINDOW, document_of};
use super::world::World;

/// An event that waits in the store: the one that names its key, and its own offset.
type Parked = (Offset, Offset);

/// Everything before the checkpoint is folded, parked, given up or a duplicate: each exactly once
/// and in order, and nothing behind it is.
pub(crate) fn at_any_time(world: &mut World) -> Result<(), String> {
    let topic = world.topic;
    let store = &world.store;
    let parked: Vec<Parked> = events_in(world, Table::Parked);
    let skipped: Vec<Parked> = events_in(world, Table::Skipped);
    let mut records: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in topic.before(store.checkpoint.next) {
        let given_up = |(_, offset): &Parked| *offset == record.event.offset;
        if !record.duplicate && !skipped.iter().any(given_up) {
            let id = document_of(&record.event);
            records.entry(id).or_default().push(record);
        }
    }
    let mut waiting = 0;
    for (id, records) in &records {
        let is_parked = |record: &&&Record| {
            let offset = record.event.offset;
            parked.iter().any(|(_, parked)| *parked == offset)
        };
        let folded = records.iter().filter(|record| !is_parked(record));
        let folded: Vec<&Event> = folded.map(|record| &*record.event).collect();
        waiting += records.len() - folded.len();
        if let Some(behind) = records.iter().find(is_parked)
            && folded
                .last()
                .is_some_and(|last| last.offset > behind.event.offset)
            && behind.event.key().is_some()
        {
            return Err(format!(
                "an event of {id} has overtaken {}",
                behind.event.offset
            ));
        }
        check_document(world, id, &folded)?;
    }
    for id in store.documents.keys() {
        if !records.contains_key(&**id) {
            return Err(format!("document {id} comes of no event"));
        }
    }
    if waiting != parked.len() {
        return Err(format!("{waiting} events are to be parked, not {parked:?}"));
    }
    check_keys(world, &parked)
}

fn check_document(world: &World, id: &str, folded: &[&Event]) -> Result<(), String> {
    let document = world.store.documents.get(id);
    let found = document.map(Account::read);
    let expected = Account::fold(folded.iter().copied());
    let last = folded.last().map(|event| event.offset);
    // An event without a key may be drained after later ones.
    let ordered = folded.last().is_some_and(|event| event.key().is_some());
    let at = document.map(|document| document.provenance.offset);
    if found != expected || ordered && found.is_some() && at != last {
        return Err(format!(
            "document {id} is {found:?} of {at:?}, not {expected:?} of {last:?}"
        ));
    }
    Ok(())
}

/// Each parked key has its entry, and what was asked about it is not forgotten.
fn check_keys(world: &mut World, parked: &[Parked]) -> Result<(), String> {
    let mut events: BTreeMap<Offset, Vec<Offset>> = BTreeMap::new();
    for &(first, offset) in parked {
        events.entry(first).or_default().push(offset);
    }
    let prefix = parked::keys_prefix(&CHECKPOINT);
    let keys = world.store.entries(Table::ParkedKeys, &prefix);
    let keys: Vec<KeyEntry> = keys
        .map(|entry| KeyEntry::from_entry(entry).expect("written here"))
        .collect();
    for key in &keys {
        let found = events.remove(&key.first).unwrap_or_default();
        let of_key = |offset: &Offset| {
            let event = &world.topic.record(*offset).event;
            event.key() == key.key.as_deref()
        };
        if key.events != found.len() as u64 || !found.iter().all(of_key) {
            return Err(format!("{key:?} does not count its events {found:?}"));
        }
    }
    if !events.is_empty() {
        return Err(format!(
            "events are parked and their keys are not: {events:?}"
        ));
    }
    let is_parked = |first: &Offset| keys.iter().any(|key| key.first == *first);
    let requests = world.store.entries(Table::ParkedRequests, &prefix);
    for first in requests.filter_map(|request| parked::first_of(&request.id)) {
        if !is_parked(&first) {
            return Err(format!(
                "a request about {first} stays, and it is not parked"
            ));
        }
    }
    let in_vain = |first: &Offset| {
        let mut keys = keys.iter();
        keys.any(|key| key.first == *first && key.reason.detail == IN_VAIN)
    };
    world
        .asked
        .retain(|first| is_parked(first) && !in_vain(first));
    for first in &world.asked {
        let id = parked::key_id(&CHECKPOINT, *first);
        if world.store.entry(Table::ParkedRequests, &id).is_none() {
            return Err(format!(
                "the request to drain {first} is gone, and it is parked"
            ));
        }
    }
    Ok(())
}

/// In the end nothing waits, and the ids are those of the events.
pub(crate) fn at_the_end(world: &mut World) -> Result<(), String> {
    at_any_time(world)?;
    let prefix = stored::segments_prefix(&CHECKPOINT);
    let mut ids: Vec<IdHash> = Vec::new();
    let mut base = None;
    for entry in world.store.entries(Table::Seen, &prefix) {
        let Segment { first, ids: more } = stored::segment_from_entry(entry).expect("as above");
        base.get_or_insert(usize::try_from(first).expect("it is small"));
        ids.extend(more);
    }
    let all: Vec<IdHash> = world
        .topic
        .ids
        .iter()
        .map(|(_, id)| IdHash::of(&[*id]))
        .collect();
    let base = base.unwrap_or(0);
    let kept = all.get(base..).unwrap_or_default();
    if ids != kept || kept.len() < all.len().min(WINDOW) {
        return Err(format!("ids from {base}: {ids:?}, not {kept:?} of {all:?}"));
    }
    tally(world);
    Ok(())
}

fn tally(world: &mut World) {
    let duplicates = |topic: &Topic| topic.records.iter().filter(|r| r.duplicate).count();
    world.tally.duplicates += duplicates(world.topic) as u64;
    world.tally.repaired += world.store.checkpoint.repairs.cast_unsigned();
}

fn events_in(world: &World, table: Table) -> Vec<Parked> {
    let prefix = parked::keys_prefix(&CHECKPOINT);
    let place = |entry: &Entry| {
        let (front, _) = entry.id.rsplit_once('/')?;
        Some((parked::first_of(front)?, parked::first_of(&entry.id)?))
    };
    let entries = world.store.entries(table, &prefix);
    entries
        .map(|entry| place(entry).expect("the id of an event has its offset and its key's"))
        .collect()
}
