//! A hot slot gets a lane of its own; the others share the rest evenly.
//!
//! A slot is hot when it costs more than a share of what a lane should (half of it, by default),
//! and stays hot until it costs less than half of that. The events of one key cannot be split, so
//! the best for a hot key is that nothing waits behind it, and for the others that they do not wait
//! for it. At least one lane is left for the others.

use policy_parts::{Levelling, Loads, level};
use projectionist_sdk::export_placement;
use projectionist_sdk::policy::{Placement, Snapshot, TargetId};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// A slot is hot from this share of a lane's mean load on.
    hot_percent: u64,
    /// By how much the busiest lane of the others may be above their mean.
    tolerance_percent: u64,
    /// A slot that takes less of a second than this is not hot.
    idle_permille: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            hot_percent: 50,
            tolerance_percent: 5,
            idle_permille: 20,
        }
    }
}

pub struct IsolateHot {
    config: Config,
    loads: Loads,
    /// Hot slots, those with the most to do first.
    hot: Vec<usize>,
}

impl Placement for IsolateHot {
    const NAME: &str = "isolate-hot";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "A hot slot gets a lane of its own; the others share the rest.";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "hot-percent": {
                "description": "a slot is hot from this share of a lane's mean load on",
                "type": "integer", "minimum": 1, "maximum": 1000
            },
            "tolerance-percent": {
                "description": "by how much the busiest lane of the others may be above their mean",
                "type": "integer", "minimum": 0, "maximum": 1000
            },
            "idle-permille": {
                "description": "a slot that takes less of a second than this is not hot",
                "type": "integer", "minimum": 0, "maximum": 1000
            }
        },
        "additionalProperties": false
    }"#;
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(IsolateHot {
            config,
            loads: Loads::default(),
            hot: Vec::new(),
        })
    }

    fn place(&mut self, snapshot: &Snapshot) -> Result<Vec<TargetId>, String> {
        let lanes = snapshot.targets.len();
        if lanes == 0 {
            return Err("there is no lane".to_owned());
        }
        self.loads.see(snapshot);
        self.find_hot(lanes);
        let mut levelling = Levelling::new(snapshot, self.loads.slots());
        let own = own_lanes(&mut levelling, &self.hot, lanes);
        let shared: Vec<usize> = (0..lanes).filter(|lane| !own.contains(lane)).collect();
        move_away(&mut levelling, &self.hot, &own, &shared);
        let busiest = shared.iter().map(|&lane| levelling.busy()[lane]).max();
        if busiest.is_some_and(|busy| busy >= self.config.idle_permille * 1_000) {
            level(&mut levelling, &shared, self.config.tolerance_percent);
        }
        Ok(levelling.owners(snapshot))
    }
}

impl IsolateHot {
    fn find_hot(&mut self, lanes: usize) {
        let loads = self.loads.slots();
        let mean = loads.iter().sum::<u64>() / lanes as u64;
        let hot_from = mean * self.config.hot_percent / 100;
        let is_hot = |slot: &usize| {
            let was_hot = self.hot.contains(slot);
            let from = if was_hot { hot_from / 2 } else { hot_from };
            loads[*slot] > 0 && loads[*slot] >= from.max(self.config.idle_permille * 1_000)
        };
        let mut hot: Vec<usize> = (0..loads.len()).filter(is_hot).collect();
        hot.sort_by_key(|&slot| std::cmp::Reverse(loads[slot]));
        hot.truncate(lanes - 1);
        self.hot = hot;
    }
}

/// The lane of each hot slot: the one that it has, unless a hotter one has it, else the lane that
/// has the least to do.
fn own_lanes(levelling: &mut Levelling<'_>, hot: &[usize], lanes: usize) -> Vec<usize> {
    let mut own = Vec::new();
    for &slot in hot {
        let mut lane = levelling.lane(slot);
        if own.contains(&lane) {
            let free = (0..lanes).filter(|lane| !own.contains(lane));
            let idlest = free.min_by_key(|&lane| levelling.busy()[lane]);
            if let Some(idlest) = idlest.filter(|_| levelling.may_move()) {
                levelling.move_to(slot, idlest);
                lane = idlest;
            }
        }
        own.push(lane);
    }
    own
}

/// Moves what else is in the lanes of hot slots to the others, the idlest first.
fn move_away(levelling: &mut Levelling<'_>, hot: &[usize], own: &[usize], shared: &[usize]) {
    for slot in 0..levelling.slots() {
        if !levelling.may_move() {
            return;
        }
        if hot.contains(&slot) || !own.contains(&levelling.lane(slot)) {
            continue;
        }
        let idlest = shared.iter().min_by_key(|&&lane| levelling.busy()[lane]);
        if let Some(&idlest) = idlest {
            levelling.move_to(slot, idlest);
        }
    }
}

export_placement!(IsolateHot);

#[cfg(test)]
mod tests {
    use projectionist_sdk::policy::Target;
    use projectionist_sdk::testing::placement;

    use super::*;

    const SLOTS: usize = 256;
    const LANES: u32 = 4;

    fn snapshot(loads: &[u32]) -> Snapshot {
        Snapshot {
            targets: (0..LANES).map(|id| Target::new(id, "", 1)).collect(),
            owners: (0..SLOTS as u32).map(|slot| slot % LANES).collect(),
            slot_load: loads.to_vec(),
            move_budget: 64,
        }
    }

    fn settle(policy: &mut IsolateHot, snapshot: &mut Snapshot) {
        for _ in 0..50 {
            let owners = policy.place(snapshot).expect("there are lanes");
            let moved = owners
                .iter()
                .zip(&snapshot.owners)
                .filter(|(new, old)| new != old);
            if moved.count() == 0 {
                return;
            }
            snapshot.owners = owners;
        }
        panic!("it does not come to rest");
    }

    fn slots(snapshot: &Snapshot, lane: TargetId) -> usize {
        snapshot
            .owners
            .iter()
            .filter(|&&owner| owner == lane)
            .count()
    }

    fn policy() -> IsolateHot {
        placement("").expect("the defaults")
    }

    #[test]
    fn hot_slots_have_lanes_of_their_own_and_keep_them() {
        let mut loads = vec![1_000; SLOTS];
        // Both in lane 1.
        (loads[1], loads[5]) = (300_000, 200_000);
        let (mut policy, mut snapshot) = (policy(), snapshot(&loads));
        settle(&mut policy, &mut snapshot);
        let (first, second) = (snapshot.owners[1], snapshot.owners[5]);
        assert_eq!(first, 1, "the hotter one stays");
        assert_ne!(first, second);
        assert_eq!((slots(&snapshot, first), slots(&snapshot, second)), (1, 1));
        let shared = (0..LANES).filter(|lane| *lane != first && *lane != second);
        let shared: Vec<usize> = shared.map(|lane| slots(&snapshot, lane)).collect();
        assert_eq!(shared.iter().sum::<usize>(), SLOTS - 2);
        assert!(
            shared.iter().all(|slots| (120..135).contains(slots)),
            "{shared:?}"
        );

        // A little less is hot still.
        snapshot.slot_load[5] = 50_000;
        settle(&mut policy, &mut snapshot);
        assert_eq!(slots(&snapshot, second), 1);
    }

    #[test]
    fn a_slot_that_has_cooled_down_shares_again() {
        let mut loads = vec![1_000; SLOTS];
        loads[7] = 500_000;
        let (mut policy, mut snapshot) = (policy(), snapshot(&loads));
        settle(&mut policy, &mut snapshot);
        let own = snapshot.owners[7];
        assert_eq!(slots(&snapshot, own), 1);
        snapshot.slot_load[7] = 1_000;
        for _ in 0..30 {
            snapshot.owners = policy.place(&snapshot).expect("there are lanes");
        }
        assert!(
            (55..75).contains(&slots(&snapshot, own)),
            "{}",
            slots(&snapshot, own)
        );
    }

    #[test]
    fn one_lane_is_left_for_the_others_however_many_are_hot() {
        let mut loads = vec![10; SLOTS];
        loads[..6].fill(100_000);
        let (mut policy, mut snapshot) = (policy(), snapshot(&loads));
        settle(&mut policy, &mut snapshot);
        let alone = (0..LANES)
            .filter(|&lane| slots(&snapshot, lane) == 1)
            .count();
        assert_eq!(alone, 3);
    }

    #[test]
    fn nothing_moves_where_nothing_is_hot_or_there_is_one_lane() {
        let (mut policy, mut even) = (policy(), snapshot(&[1_000; SLOTS]));
        let before = even.owners.clone();
        settle(&mut policy, &mut even);
        assert_eq!(even.owners, before);
        let mut hot = snapshot(&[1_000; SLOTS]);
        hot.slot_load[0] = 900_000;
        hot.targets.truncate(1);
        let owners = self::policy().place(&hot).expect("there is a lane");
        assert_eq!(owners, [0; SLOTS]);
    }
}
