//! What users ask about parked events: a look at them, and requests to their owner.
//!
//! It reads and writes the stores only, so it works beside running hosts and without any: a
//! request waits in the store until the partition's owner carries it out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use tracing::warn;

use super::{
    Action, KeyEntry, Request, Unreadable, event_from_entry, events_prefix, first_of, key_id,
};
use crate::record::{Event, Offset, TopicPartition};
use crate::store::{self, CheckpointId, Entry, Store, Table, all_entries};
use crate::telemetry::health::describe;
use crate::unix_time::now_ms;

/// Where the projections of a configuration keep what is parked. Shares that with its clones.
#[derive(Clone, Default)]
pub struct Desk {
    /// By what the projections are called in their copies.
    places: Arc<RwLock<BTreeMap<Arc<str>, Place>>>,
}

/// Where one projection keeps what is parked in one copy of its store.
#[derive(Clone)]
pub struct Place {
    pub projection: Arc<str>,
    pub store: Arc<dyn Store>,
    /// The copy's name in the configuration.
    pub copy: Arc<str>,
    /// Of the projection's views.
    pub version: u32,
}

/// Names a parked key: `projection/topic/partition/offset`, the offset that of the event which its
/// projection could not take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParkedId {
    /// With `@` and the copy's name behind it, where that is not the first one of its store.
    pub projection: Arc<str>,
    pub partition: TopicPartition,
    pub first: Offset,
}

/// A parked key, and what is asked to be done about it.
#[derive(Clone, Debug)]
pub struct ParkedKey {
    pub id: ParkedId,
    pub entry: KeyEntry,
    pub request: Option<Request>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(
        "there is no projection \"{0}\" in the configuration; in a further copy of its store it is \
         called PROJECTION@COPY"
    )]
    NoProjection(String),
    #[error(
        "nothing is parked as {0}; \"projectionist parked list\" shows what is, and where it stands"
    )]
    NotParked(ParkedId),
    #[error("{0} has no parked event at offset {1}; \"projectionist parked show {0}\" lists them")]
    NoEvent(ParkedId, Offset),
}

/// The text does not name a parked key.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" names nothing that is parked; write PROJECTION/TOPIC/PARTITION/OFFSET")]
pub struct BadId(String);

const PAGE: usize = 1_000;

impl Desk {
    /// Adds a place, by what the projection is called there.
    pub fn open(&self, name: &Arc<str>, place: Place) {
        let mut places = self.places.write().expect("nothing panics under this lock");
        places.insert(Arc::clone(name), place);
    }

    fn places(&self) -> RwLockReadGuard<'_, BTreeMap<Arc<str>, Place>> {
        self.places.read().expect("nothing panics under this lock")
    }

    /// All parked keys, or those of one projection, in the order of their ids.
    pub async fn list(&self, projection: Option<&str>) -> Result<Vec<ParkedKey>, Error> {
        if let Some(name) = projection {
            self.place(name)?;
        }
        let mut keys = Vec::new();
        let places = self.places().clone();
        for (name, place) in &places {
            if projection.is_some_and(|projection| projection != &**name) {
                continue;
            }
            match list_in(name, place).await {
                Ok(found) => keys.extend(found),
                // The others' keys are not less parked for that.
                Err(Error::Store(error)) if **name != *place.projection && error.is_transient() => {
                    warn!(projection = %name, "its parked keys are left out: {}", describe(&error));
                }
                Err(error) => return Err(error),
            }
        }
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(keys)
    }
    /// One parked key; `None` where it is not parked, or not any more.
    pub async fn find(&self, id: &ParkedId) -> Result<Option<ParkedKey>, Error> {
        let (place, checkpoint) = self.checkpoint(id)?;
        let ids = [key_id(&checkpoint, id.first)];
        // First: where a request is gone, the key is read as what it was carried out on has left it.
        let requests = place.store.find_entries(Table::ParkedRequests, &ids);
        let requests = requests.await?;
        let found = place.store.find_entries(Table::ParkedKeys, &ids).await?;
        let Some(entry) = found.first() else {
            return Ok(None);
        };
        Ok(Some(ParkedKey {
            id: id.clone(),
            entry: KeyEntry::from_entry(entry)?,
            request: requests.first().map(Request::from_entry).transpose()?,
        }))
    }

    /// The oldest parked events of a key, at most `limit`.
    pub async fn events(&self, id: &ParkedId, limit: usize) -> Result<Vec<Event>, Error> {
        let (place, checkpoint) = self.checkpoint(id)?;
        let prefix = events_prefix(&checkpoint, id.first);
        let mut events: Vec<Event> = Vec::new();
        let mut after: Option<Arc<str>> = None;
        while events.len() < limit {
            let left = (limit - events.len()).min(PAGE);
            let page = place
                .store
                .entries(Table::Parked, &prefix, after.as_deref(), left)
                .await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(Arc::clone(&last.id));
            for entry in &page {
                events.push(event_from_entry(entry)?);
            }
        }
        Ok(events)
    }

    /// Asks the partition's owner to do something about a parked key. A request that is not
    /// carried out yet is replaced.
    pub async fn ask(&self, id: &ParkedId, action: Action, by: &str) -> Result<(), Error> {
        let (place, checkpoint) = self.checkpoint(id)?;
        if self.find(id).await?.is_none() {
            return Err(Error::NotParked(id.clone()));
        }
        if let Action::Skip { offset, .. } = &action {
            let event = super::event_id(&checkpoint, id.first, Offset(*offset));
            let found = place.store.find_entries(Table::Parked, &[event]).await?;
            if found.is_empty() {
                return Err(Error::NoEvent(id.clone(), Offset(*offset)));
            }
        }
        let request = Request {
            action,
            by: by.to_owned(),
            at_ms: now_ms(),
        };
        let entry = request.to_entry(&checkpoint, id.first);
        Ok(place.store.put_entry(&entry).await?)
    }

    pub fn place(&self, projection: &str) -> Result<Place, Error> {
        let place = self.places().get(projection).cloned();
        place.ok_or_else(|| Error::NoProjection(projection.to_owned()))
    }

    fn checkpoint(&self, id: &ParkedId) -> Result<(Place, CheckpointId), Error> {
        let place = self.place(&id.projection)?;
        let checkpoint = CheckpointId {
            projection: Arc::clone(&place.projection),
            version: place.version,
            copy: Arc::clone(&place.copy),
            partition: id.partition.clone(),
        };
        Ok((place, checkpoint))
    }
}

/// The parked keys of one place.
async fn list_in(name: &Arc<str>, place: &Place) -> Result<Vec<ParkedKey>, Error> {
    let mut keys = Vec::new();
    let writer = CheckpointId::writer(&place.projection, place.version, &place.copy);
    let prefix = format!("{writer}/");
    let requests = all_entries(&*place.store, Table::ParkedRequests, &prefix, None).await?;
    let requests: BTreeMap<Arc<str>, Entry> = requests
        .into_iter()
        .map(|entry| (Arc::clone(&entry.id), entry))
        .collect();
    let parked = all_entries(&*place.store, Table::ParkedKeys, &prefix, None).await?;
    for entry in parked {
        let Some(partition) = partition_of(&entry.id[prefix.len()..]) else {
            continue;
        };
        let request = requests.get(&entry.id).map(Request::from_entry);
        let known = KeyEntry::from_entry(&entry)?;
        keys.push(ParkedKey {
            id: ParkedId {
                projection: Arc::clone(name),
                partition,
                first: known.first,
            },
            entry: known,
            request: request.transpose()?,
        });
    }
    Ok(keys)
}

/// Reads `topic/partition/first`.
fn partition_of(rest: &str) -> Option<TopicPartition> {
    let (rest, _) = rest.rsplit_once('/')?;
    let (topic, partition) = rest.rsplit_once('/')?;
    Some(TopicPartition::new(topic, partition.parse().ok()?))
}

impl fmt::Display for ParkedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParkedId {
            projection,
            partition,
            first,
        } = self;
        write!(f, "{projection}/{partition}/{first}")
    }
}

impl FromStr for ParkedId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let read = || {
            let (projection, rest) = text.split_once('/')?;
            Some(ParkedId {
                projection: projection.into(),
                partition: partition_of(rest)?,
                first: first_of(rest)?,
            })
        };
        read().ok_or_else(|| BadId(text.to_owned()))
    }
}

impl Error {
    /// True where the store did not answer, so that asking again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Store(error) if error.is_transient())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = ParkedId {
            projection: "orders".into(),
            partition: TopicPartition::new("orders.events", 3),
            first: Offset(12),
        };
        assert_eq!(id.to_string(), "orders/orders.events/3/12");
        let read: ParkedId = id.to_string().parse().expect("it was written here");
        assert_eq!(read, id);
        for bad in ["", "orders", "orders/3/12", "orders/t/x/12", "orders/t/3/x"] {
            let error = bad.parse::<ParkedId>().expect_err(bad);
            assert!(error.to_string().contains("PROJECTION/TOPIC"), "{error}");
        }
    }
}
