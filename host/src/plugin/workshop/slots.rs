//! How many compilers run at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A number of places, each held by one caller at a time.
pub(super) struct Slots {
    free: Mutex<usize>,
    returned: Condvar,
}

/// A place; dropping it gives it back.
pub(super) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(super) const fn new(count: usize) -> Self {
        Slots {
            free: Mutex::new(count),
            returned: Condvar::new(),
        }
    }

    /// Waits for a place, but not for ever. `None` where none came free.
    pub(super) fn take(&self, wait_max: Duration) -> Option<Slot<'_>> {
        let waited = self
            .returned
            .wait_timeout_while(self.free(), wait_max, |free| *free == 0);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Slot(self))
    }

    /// A number is whole whatever happened to its holder.
    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn no_more_are_held_than_there_are_and_waiting_ends() {
        let slots = Slots::new(2);
        let first = slots.take(LONG).expect("free");
        let _second = slots.take(LONG).expect("free");
        assert!(slots.take(Duration::from_millis(1)).is_none());
        drop(first);
        assert!(slots.take(LONG).is_some());
    }

    #[test]
    fn who_waits_gets_the_place_that_is_given_back() {
        let slots = Slots::new(1);
        let held = slots.take(LONG).expect("free");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| slots.take(LONG).is_some());
            drop(held);
            assert!(waiter.join().expect("it only waits"));
        });
    }
}
