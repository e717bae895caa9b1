//! Whether what a reader waits for is parked: then waiting longer would not help.
//!
//! Guarantee: asked once a position includes the token, an event at or before the token that was
//! parked is found. Parking moves the checkpoint in the same transaction.

use std::sync::Arc;

use super::View;
use super::copies::Copy;
use super::token::Token;
use crate::parked::{KeyEntry, Unreadable, event_id, keys_prefix};
use crate::projection::Ownership;
use crate::record::{NextOffset, Offset, TopicPartition};
use crate::store::{CheckpointId, Error, Table};

/// Keys in one read. A partition has a thousand at most, where the configuration has no more.
const PAGE: usize = 1_000;

/// Names the parked key, as `projectionist parked` does, that keeps the token's events from a
/// document, or else from the view. `id` is the document's.
pub(super) async fn find(
    copy: &Copy,
    view: &View,
    token: &Token,
    id: Option<&str>,
) -> Result<Option<String>, Error> {
    for (partition, wanted) in token.partitions() {
        let checkpoint = CheckpointId {
            projection: Arc::clone(&view.projection),
            version: view.id.version,
            copy: Arc::clone(&copy.name),
            partition: partition.clone(),
        };
        let keys = parked_before(copy, &checkpoint, wanted).await?;
        let stuck = match id {
            // The document's events are those of its key.
            Some(id) if view.ownership == Ownership::ByKey => {
                let same = |key: &&KeyEntry| key.key.as_deref() == Some(id.as_bytes());
                keys.iter().find(same).map(|key| key.first)
            }
            // Which documents an event would have touched is not known: only the token's own
            // event counts.
            Some(_) | None => holding(copy, &checkpoint, &keys, wanted).await?,
        };
        if let Some(first) = stuck {
            return Ok(Some(name(&copy.label, partition, first)));
        }
    }
    Ok(None)
}

fn name(label: &str, partition: &TopicPartition, first: Offset) -> String {
    format!("{label}/{partition}/{first}")
}

/// The keys of a partition that were parked before this position.
async fn parked_before(
    copy: &Copy,
    checkpoint: &CheckpointId,
    wanted: NextOffset,
) -> Result<Vec<KeyEntry>, Error> {
    let prefix = keys_prefix(checkpoint);
    let mut keys = Vec::new();
    let mut after: Option<Arc<str>> = None;
    loop {
        let store = &copy.opened()?.store;
        let read = store.entries(Table::ParkedKeys, &prefix, after.as_deref(), PAGE);
        let page = copy.within(read).await?;
        let Some(last) = page.last() else {
            return Ok(keys);
        };
        after = Some(Arc::clone(&last.id));
        for entry in &page {
            let key = KeyEntry::from_entry(entry).map_err(|error| unreadable(copy, &error))?;
            if wanted.includes(key.first) {
                keys.push(key);
            }
        }
    }
}

/// The key with which the last event before this position is parked.
async fn holding(
    copy: &Copy,
    checkpoint: &CheckpointId,
    keys: &[KeyEntry],
    wanted: NextOffset,
) -> Result<Option<Offset>, Error> {
    if keys.is_empty() {
        return Ok(None);
    }
    let event = Offset(wanted.0 - 1);
    let ids: Vec<Arc<str>> = keys
        .iter()
        .map(|key| event_id(checkpoint, key.first, event))
        .collect();
    let found = copy
        .within(copy.opened()?.store.find_entries(Table::Parked, &ids))
        .await?;
    let position = |id: &Arc<str>| ids.iter().position(|other| other == id);
    let found = found.iter().find_map(|entry| position(&entry.id));
    Ok(found.map(|index| keys[index].first))
}

fn unreadable(copy: &Copy, error: &Unreadable) -> Error {
    Error::Refused {
        address: format!("copy \"{}\"", copy.name),
        message: error.to_string(),
    }
}
