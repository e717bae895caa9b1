//! Where an instance waits for its next call, and may be ended meanwhile if others need its room.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::account::{Account, Idle};
use super::instance::Instance;

/// Empty where there is no instance, or where it is being called.
#[derive(Default)]
pub(super) struct Seat(Mutex<Option<Sitting>>);

struct Sitting {
    since: Instant,
    instance: Instance,
}

impl Seat {
    /// An empty one that the account knows.
    pub(super) fn new(account: &Account) -> Arc<Self> {
        let seat = Arc::new(Seat::default());
        let known: std::sync::Weak<Seat> = Arc::downgrade(&seat);
        account.register(known);
        seat
    }

    /// The instance, if it is still there.
    pub(super) fn take(&self) -> Option<Instance> {
        self.lock().take().map(|sitting| sitting.instance)
    }

    pub(super) fn put(&self, instance: Instance) {
        let since = Instant::now();
        let before = self.lock().replace(Sitting { since, instance });
        assert!(before.is_none(), "a lane has one instance");
    }

    fn lock(&self) -> MutexGuard<'_, Option<Sitting>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Idle for Seat {
    fn since(&self) -> Option<Instant> {
        self.lock().as_ref().map(|sitting| sitting.since)
    }

    fn give_up(&self) -> Option<Box<dyn Send>> {
        let instance = self.take()?;
        Some(Box::new(instance))
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}
