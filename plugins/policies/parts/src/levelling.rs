//! Moves that make lanes even: from the busiest to the idlest, as long as it helps.

use projectionist_sdk::policy::{Snapshot, TargetId};

use crate::loads::places;

/// The lanes with what they cost, while slots move about.
pub struct Levelling<'a> {
    /// Place of the lane of each slot.
    lane: Vec<usize>,
    /// What each lane costs.
    busy: Vec<u64>,
    loads: &'a [u64],
    moves: usize,
    moves_max: usize,
}

impl<'a> Levelling<'a> {
    /// `loads` has the cost of each slot. `snapshot` has a target at least.
    pub fn new(snapshot: &Snapshot, loads: &'a [u64]) -> Self {
        let lane = places(snapshot);
        let mut busy = vec![0; snapshot.targets.len()];
        for (&lane, load) in lane.iter().zip(loads) {
            busy[lane] += load;
        }
        Levelling {
            lane,
            busy,
            loads,
            moves: 0,
            moves_max: snapshot.move_budget as usize,
        }
    }

    /// What each lane costs.
    pub fn busy(&self) -> &[u64] {
        &self.busy
    }

    /// The lane of a slot.
    pub fn lane(&self, slot: usize) -> usize {
        self.lane[slot]
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.lane.len()
    }

    /// Whether the budget allows one more.
    pub fn may_move(&self) -> bool {
        self.moves < self.moves_max
    }

    pub fn move_to(&mut self, slot: usize, lane: usize) {
        self.busy[self.lane[slot]] -= self.loads[slot];
        self.busy[lane] += self.loads[slot];
        self.lane[slot] = lane;
        self.moves += 1;
    }

    /// The answer to the snapshot.
    pub fn owners(&self, snapshot: &Snapshot) -> Vec<TargetId> {
        let id = |&lane: &usize| snapshot.targets[lane].id;
        self.lane.iter().map(id).collect()
    }
}

/// Makes the lanes at these places even, without touching others, until the busiest is within
/// `tolerance_percent` of their mean, nothing helps, or the budget is used up.
///
/// Of the busiest lane goes what comes closest to half of the gap to the idlest one, and never as
/// much as the gap, so each move brings them closer and the end is sure.
pub fn level(levelling: &mut Levelling<'_>, lanes: &[usize], tolerance_percent: u64) {
    if lanes.len() < 2 {
        return;
    }
    let total: u64 = lanes.iter().map(|&lane| levelling.busy[lane]).sum();
    let mean = total / lanes.len() as u64;
    while levelling.may_move() {
        let busy = |&&lane: &&usize| levelling.busy[lane];
        let (Some(&busiest), Some(&idlest)) =
            (lanes.iter().max_by_key(busy), lanes.iter().min_by_key(busy))
        else {
            return;
        };
        let most = levelling.busy[busiest];
        if most * 100 <= mean * (100 + tolerance_percent) {
            return;
        }
        let gap = most - levelling.busy[idlest];
        let movable = levelling.lane.iter().zip(levelling.loads).enumerate();
        let movable = movable
            .filter(|(_, (lane, load))| **lane == busiest && **load > 0 && **load < gap)
            .map(|(slot, (_, load))| (slot, *load));
        let Some((slot, _)) = movable.min_by_key(|(_, load)| load.abs_diff(gap / 2)) else {
            return;
        };
        levelling.move_to(slot, idlest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use projectionist_sdk::policy::Target;

    use super::*;

    fn snapshot(owners: Vec<u32>, slot_load: Vec<u32>, move_budget: u32) -> Snapshot {
        Snapshot {
            targets: (10..14).map(|id| Target::new(id, "", 1)).collect(),
            owners,
            slot_load,
            move_budget,
        }
    }

    proptest! {
        #[test]
        fn levelling_never_makes_the_busiest_lane_busier_and_keeps_to_its_lanes(
            slots in prop::collection::vec((10_u32..14, 0_u32..1_000), 1..200),
            budget in 0_u32..50,
        ) {
            let (owners, loads): (Vec<u32>, Vec<u32>) = slots.into_iter().unzip();
            let snapshot = snapshot(owners.clone(), loads.clone(), budget);
            let loads: Vec<u64> = loads.into_iter().map(u64::from).collect();
            let mut levelling = Levelling::new(&snapshot, &loads);
            let before = levelling.busy().to_vec();
            level(&mut levelling, &[0, 1, 3], 5);

            let after = levelling.busy();
            let most = |busy: &[u64]| busy[0].max(busy[1]).max(busy[3]);
            prop_assert!(most(after) <= most(&before));
            prop_assert_eq!(after[2], before[2]);
            prop_assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>());
            let answer = levelling.owners(&snapshot);
            let moved = answer.iter().zip(&owners).filter(|(new, old)| new != old);
            prop_assert!(moved.count() <= budget as usize);
        }
    }

    #[test]
    fn slots_of_lanes_that_are_gone_are_given_out_in_turn() {
        let snapshot = snapshot(vec![9, 9, 13], vec![1; 6], 0);
        let loads = [1; 6];
        let levelling = Levelling::new(&snapshot, &loads);
        assert_eq!(levelling.owners(&snapshot), [10, 11, 13, 13, 10, 11]);
    }
}
