//! What each slot costs, smoothed: a second is short, and a move for a moment's load is undone in
//! the next one.

use projectionist_sdk::policy::Snapshot;

/// A new second counts for one part in so many.
const PARTS: u64 = 4;

/// Of each slot: microseconds of work a second.
#[derive(Debug, Default)]
pub struct Loads {
    slots: Vec<u64>,
}

impl Loads {
    /// Takes the last second in.
    pub fn see(&mut self, snapshot: &Snapshot) {
        let new = snapshot.slot_load.iter().map(|&load| u64::from(load));
        if self.slots.len() != new.len() {
            self.slots = new.collect();
            return;
        }
        for (load, new) in self.slots.iter_mut().zip(new) {
            *load = (*load * (PARTS - 1) + new).div_ceil(PARTS);
        }
    }

    pub fn slots(&self) -> &[u64] {
        &self.slots
    }
}

/// The place of each slot's target among the targets. A slot without one, or with one that there
/// is not any more, gets one in turn.
pub(crate) fn places(snapshot: &Snapshot) -> Vec<usize> {
    let place = |slot: usize| {
        let owner = snapshot.owners.get(slot);
        let known = owner.and_then(|owner| {
            snapshot
                .targets
                .iter()
                .position(|target| target.id == *owner)
        });
        known.unwrap_or(slot % snapshot.targets.len())
    };
    (0..snapshot.slot_load.len()).map(place).collect()
}
