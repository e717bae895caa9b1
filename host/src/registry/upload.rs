//! The way into the registry: a few uploads at a time, each checked before anything is stored.
//!
//! Guarantee: however many upload at once, so many files are in memory as there are places, and
//! who would wait behind too many others is sent away at once. One client has one place at a time,
//! half of those that wait, and half of the plugins that may be kept, so that others are served.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::{Error, Registry, Saved};
use crate::plugin::About;

/// Checks a file. Takes up to seconds of computing, on a thread of its own.
pub type Check = Arc<dyn Fn(&[u8]) -> Result<About, Refused> + Send + Sync>;

/// Files that are read and checked at a time; a check may take half a gigabyte.
const PLACES: usize = 2;

/// Uploads that wait for a place.
const WAITING_MAX: usize = 16;

/// Those of one client.
const WAITING_OWN_MAX: usize = WAITING_MAX / 2;

/// Where uploads come in.
pub struct Uploads {
    registry: Registry,
    check: Check,
    limits: Limits,
    places: Arc<Semaphore>,
    /// Those who have a place, and those who wait for one.
    present: Arc<Semaphore>,
    /// Clients who have uploads here.
    clients: Clients,
    /// Of two who upload the same file at once, one comes first.
    saving: Mutex<()>,
}

/// What is taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a file.
    pub bytes_max: usize,
    /// Plugins that are kept.
    pub plugins_max: usize,
}

type Clients = Arc<std::sync::Mutex<HashMap<String, Client>>>;

/// One client's uploads.
struct Client {
    present: usize,
    /// For one at a time.
    turn: Arc<Semaphore>,
}

/// Leave to hold one file in memory; given back when it is dropped.
pub struct Place {
    _place: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
    _presence: Presence,
}

/// Counts an upload as long as it lives.
struct Presence {
    clients: Clients,
    client: String,
    _permit: OwnedSemaphorePermit,
}

/// Why an upload was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("{WAITING_MAX} other uploads are waiting already; try again in a few seconds")]
    Busy,
    #[error(
        "{WAITING_OWN_MAX} other uploads are waiting already under your name; try again in a few \
         seconds"
    )]
    BusyOwn,
    #[error(
        "there are {0} plugins already, as many as may be uploaded (plugins.uploads); remove some \
         that nothing runs, with \"projectionist plugin remove\""
    )]
    Full(usize),
    #[error(
        "{0} plugins are uploaded under your name already, half of all that may be \
         (plugins.uploads); remove some that nothing runs, with \"projectionist plugin remove\""
    )]
    FullOwn(usize),
    /// The file is at fault; its text is the check's.
    #[error("{0}")]
    Plugin(String),
    /// The check itself could not be made.
    #[error("the plugin cannot be checked: {0}")]
    Host(String),
    #[error(transparent)]
    Registry(#[from] Error),
}

impl Uploads {
    pub fn new(registry: Registry, limits: Limits, check: Check) -> Self {
        Uploads {
            registry,
            check,
            limits,
            clients: Clients::default(),
            places: Arc::new(Semaphore::new(PLACES)),
            present: Arc::new(Semaphore::new(PLACES + WAITING_MAX)),
            saving: Mutex::default(),
        }
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Most bytes of a file.
    pub fn bytes_max(&self) -> usize {
        self.limits.bytes_max
    }

    /// Waits for a place; to be asked for before the file is read. `client` is whom it is for.
    pub async fn place(&self, client: &str) -> Result<Place, Refused> {
        const OPEN: &str = "nobody closes it";
        let permit = match Arc::clone(&self.present).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits) => return Err(Refused::Busy),
            Err(TryAcquireError::Closed) => unreachable!("{OPEN}"),
        };
        let (presence, turn) = self.enter(client, permit)?;
        let turn = turn.acquire_owned().await.expect(OPEN);
        let place = Arc::clone(&self.places).acquire_owned().await.expect(OPEN);
        Ok(Place {
            _place: place,
            _turn: turn,
            _presence: presence,
        })
    }

    /// Counts a client in, where it has not as many uploads here as it may.
    fn enter(
        &self,
        name: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<(Presence, Arc<Semaphore>), Refused> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.entry(name.to_owned()).or_insert_with(|| Client {
            present: 0,
            turn: Arc::new(Semaphore::new(1)),
        });
        // One has its turn, the others wait.
        if client.present > WAITING_OWN_MAX {
            return Err(Refused::BusyOwn);
        }
        client.present += 1;
        let presence = Presence {
            clients: Arc::clone(&self.clients),
            client: name.to_owned(),
            _permit: permit,
        };
        Ok((presence, Arc::clone(&client.turn)))
    }

    /// Checks a file and keeps it. `by` is who uploads it.
    pub async fn save(&self, place: Place, bytes: Bytes, by: &str) -> Result<Saved, Refused> {
        let check = Arc::clone(&self.check);
        // The place goes along: the check goes on where the one who asked has gone away.
        let checked = tokio::task::spawn_blocking(move || (check(&bytes), bytes, place)).await;
        let (about, bytes, _place) = checked.map_err(|error| Refused::Host(error.to_string()))?;
        let about = about?;
        let _alone = self.saving.lock().await;
        self.check_room(&about, by).await?;
        Ok(self.registry.save(&about, &bytes, by).await?)
    }
}

impl Uploads {
    /// Refuses one plugin more where there are as many as may be.
    async fn check_room(&self, about: &About, by: &str) -> Result<(), Refused> {
        let kept = self.registry.list().await?;
        if kept
            .iter()
            .any(|plugin| plugin.about.sha256 == about.sha256)
        {
            return Ok(());
        }
        let own = kept
            .iter()
            .filter(|plugin| plugin.uploaded_by == by)
            .count();
        match self.limits.plugins_max {
            max if kept.len() >= max => Err(Refused::Full(kept.len())),
            max if own >= max.div_ceil(2) => Err(Refused::FullOwn(own)),
            _ => Ok(()),
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let clients = self.clients.lock();
        let mut clients = clients.unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get_mut(&self.client) {
            client.present -= 1;
            if client.present == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::store::embedded::EmbeddedStore;

    fn uploads(folder: &Path) -> Uploads {
        let store = EmbeddedStore::open(&folder.join("plugins.db")).expect("a new file");
        let refuse: Check = Arc::new(|_| Err(Refused::Plugin("is no plugin".to_owned())));
        let limits = Limits {
            bytes_max: 1 << 20,
            plugins_max: 100,
        };
        Uploads::new(Registry::new(Arc::new(store)), limits, refuse)
    }

    #[tokio::test]
    async fn of_a_thousand_uploads_a_few_have_places_a_few_wait_and_the_rest_are_sent_away() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let uploads = Arc::new(uploads(folder.path()));
        let mut held = Vec::new();
        for number in 0..PLACES {
            let client = format!("first-{number}");
            held.push(uploads.place(&client).await.expect("a free place"));
        }
        let mut others = tokio::task::JoinSet::new();
        for number in 0..1_000 - PLACES {
            let uploads = Arc::clone(&uploads);
            let place = async move { uploads.place(&number.to_string()).await.map(drop) };
            others.spawn(place);
        }
        for _ in 0..1_000 - PLACES - WAITING_MAX {
            let refused = others.join_next().await.expect("they are sent away");
            let refused = refused.expect("no panic").expect_err("no place");
            assert!(matches!(refused, Refused::Busy), "{refused}");
        }
        assert_eq!(others.len(), WAITING_MAX);
        assert!(others.try_join_next().is_none(), "the others wait");

        drop(held);
        let all = async {
            while others
                .join_next()
                .await
                .is_some_and(|placed| placed.is_ok())
            {}
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), all).await;
        waited.expect("those who wait get their places");
        assert!(others.is_empty());
    }

    #[tokio::test]
    async fn what_is_refused_leaves_nothing_but_its_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let uploads = uploads(folder.path());
        for _ in 0..PLACES + WAITING_MAX + 1 {
            let place = uploads.place("me").await.expect("a free place");
            let saved = uploads.save(place, Bytes::from_static(b"text"), "me").await;
            let refused = saved.expect_err("the check says so").to_string();
            assert_eq!(refused, "is no plugin");
        }
        assert_eq!(uploads.registry().list().await.expect("a list"), []);
    }

    #[tokio::test]
    async fn one_client_leaves_places_to_others() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let uploads = Arc::new(uploads(folder.path()));
        let held = uploads.place("greedy").await.expect("a free place");
        let mut others = tokio::task::JoinSet::new();
        for _ in 0..300 {
            let uploads = Arc::clone(&uploads);
            others.spawn(async move { uploads.place("greedy").await.map(drop) });
        }
        for _ in 0..300 - WAITING_OWN_MAX {
            let refused = others.join_next().await.expect("they are sent away");
            let refused = refused.expect("no panic").expect_err("no place");
            assert!(matches!(refused, Refused::BusyOwn), "{refused}");
        }
        // The second place is another client's at once, although others have waited for longer.
        let other = tokio::time::timeout(Duration::from_secs(30), uploads.place("other"));
        other.await.expect("no wait").expect("a free place");
        drop(held);
        while let Some(placed) = others.join_next().await {
            placed
                .expect("no panic")
                .expect("a place, one after the other");
        }
        assert!(uploads.clients.lock().expect("no panic").is_empty());
    }
}
