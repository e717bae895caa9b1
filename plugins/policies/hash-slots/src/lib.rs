//! Every lane has as many slots as the others, whatever they cost: slots go to the lanes in turn.
//!
//! A slot is a hash of its keys, so this spreads keys by their hashes. It never moves anything once
//! it is reached, and does not help where few keys make most of the work.

use projectionist_sdk::policy::{Placement, Snapshot, TargetId};
use projectionist_sdk::{NoConfig, export_placement};

pub struct HashSlots;

impl Placement for HashSlots {
    const NAME: &str = "hash-slots";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "Every lane has as many slots as the others, whatever they cost.";
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(HashSlots)
    }

    fn place(&mut self, snapshot: &Snapshot) -> Result<Vec<TargetId>, String> {
        if snapshot.targets.is_empty() {
            return Err("there is no lane".to_owned());
        }
        let mut lanes: Vec<TargetId> = snapshot.targets.iter().map(|target| target.id).collect();
        lanes.sort_unstable();
        let slots = 0..snapshot.slot_load.len();
        Ok(slots.map(|slot| lanes[slot % lanes.len()]).collect())
    }
}

export_placement!(HashSlots);

#[cfg(test)]
mod tests {
    use projectionist_sdk::policy::Target;
    use projectionist_sdk::testing::placement;

    use super::*;

    #[test]
    fn slots_go_to_the_lanes_in_turn_whatever_their_order() {
        let mut policy: HashSlots = placement("").expect("no settings");
        let mut snapshot = Snapshot {
            targets: [2, 0, 1].map(|id| Target::new(id, "", 1)).to_vec(),
            owners: vec![0; 7],
            slot_load: vec![9; 7],
            move_budget: 1,
        };
        assert_eq!(policy.place(&snapshot), Ok(vec![0, 1, 2, 0, 1, 2, 0]));
        snapshot.targets.clear();
        assert!(policy.place(&snapshot).is_err());
    }
}
