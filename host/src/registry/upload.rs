//! The way into the registry: a few uploads at a time, each checked before anything is stored.
//!
//! Guarantee: however many upload at once, so many files are in memory as there are places, and
//! who would wait behind too many others is sent away at once.

use std::sync::Arc;

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

/// Where uploads come in.
pub struct Uploads {
    registry: Registry,
    check: Check,
    /// Bytes of a file.
    bytes_max: usize,
    places: Arc<Semaphore>,
    /// Those who have a place, and those who wait for one.
    present: Arc<Semaphore>,
    /// Of two who upload the same file at once, one comes first.
    saving: Mutex<()>,
}

/// Leave to hold one file in memory; given back when it is dropped.
pub struct Place {
    _place: OwnedSemaphorePermit,
    _presence: OwnedSemaphorePermit,
}

/// Why an upload was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("{WAITING_MAX} other uploads are waiting already; try again in a few seconds")]
    Busy,
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
    pub fn new(registry: Registry, bytes_max: usize, check: Check) -> Self {
        Uploads {
            registry,
            check,
            bytes_max,
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
        self.bytes_max
    }

    /// Waits for a place; to be asked for before the file is read.
    pub async fn place(&self) -> Result<Place, Refused> {
        const OPEN: &str = "nobody closes it";
        let presence = match Arc::clone(&self.present).try_acquire_owned() {
            Ok(presence) => presence,
            Err(TryAcquireError::NoPermits) => return Err(Refused::Busy),
            Err(TryAcquireError::Closed) => unreachable!("{OPEN}"),
        };
        let place = Arc::clone(&self.places).acquire_owned().await.expect(OPEN);
        Ok(Place {
            _place: place,
            _presence: presence,
        })
    }

    /// Checks a file and keeps it. `by` is who uploads it.
    pub async fn save(&self, place: Place, bytes: Bytes, by: &str) -> Result<Saved, Refused> {
        let check = Arc::clone(&self.check);
        // The place goes along: the check goes on where the one who asked has gone away.
        let checked = tokio::task::spawn_blocking(move || (check(&bytes), bytes, place)).await;
        let (about, bytes, _place) = checked.map_err(|error| Refused::Host(error.to_string()))?;
        let about = about?;
        let _alone = self.saving.lock().await;
        Ok(self.registry.save(&about, &bytes, by).await?)
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
        Uploads::new(Registry::new(Arc::new(store)), 1 << 20, refuse)
    }

    #[tokio::test]
    async fn of_a_thousand_uploads_a_few_have_places_a_few_wait_and_the_rest_are_sent_away() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let uploads = Arc::new(uploads(folder.path()));
        let mut held = Vec::new();
        for _ in 0..PLACES {
            held.push(uploads.place().await.expect("a free place"));
        }
        let mut others = tokio::task::JoinSet::new();
        for _ in 0..1_000 - PLACES {
            let uploads = Arc::clone(&uploads);
            others.spawn(async move { uploads.place().await.map(drop) });
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
            let place = uploads.place().await.expect("a free place");
            let saved = uploads.save(place, Bytes::from_static(b"text"), "me").await;
            let refused = saved.expect_err("the check says so").to_string();
            assert_eq!(refused, "is no plugin");
        }
        assert_eq!(uploads.registry().list().await.expect("a list"), []);
    }
}
