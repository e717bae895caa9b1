//! Slots move from the busiest lane to the idlest, as long as it makes them more even.
//!
//! What a slot costs is smoothed over some seconds. Nothing moves while the busiest lane is within
//! a tolerance of the mean, or has little to do; and a slot that costs more than a whole lane should
//! is left with its lane, whose other slots move away.

use policy_parts::{Levelling, Loads, level};
use projectionist_sdk::export_placement;
use projectionist_sdk::policy::{Placement, Snapshot, TargetId};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// By how much the busiest lane may be above the mean.
    tolerance_percent: u64,
    /// A lane that folds for less of a second than this is left alone.
    idle_permille: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            tolerance_percent: 5,
            idle_permille: 20,
        }
    }
}

pub struct LeastLoaded {
    config: Config,
    loads: Loads,
}

impl Placement for LeastLoaded {
    const NAME: &str = "least-loaded";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "Slots move from the busiest lane to the idlest.";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "tolerance-percent": {
                "description": "by how much the busiest lane may be above the mean",
                "type": "integer", "minimum": 0, "maximum": 1000
            },
            "idle-permille": {
                "description": "a lane that folds for less of a second than this is left alone",
                "type": "integer", "minimum": 0, "maximum": 1000
            }
        },
        "additionalProperties": false
    }"#;
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(LeastLoaded {
            config,
            loads: Loads::default(),
        })
    }

    fn place(&mut self, snapshot: &Snapshot) -> Result<Vec<TargetId>, String> {
        if snapshot.targets.is_empty() {
            return Err("there is no lane".to_owned());
        }
        self.loads.see(snapshot);
        let mut levelling = Levelling::new(snapshot, self.loads.slots());
        let busiest = levelling.busy().iter().max();
        if busiest.is_some_and(|&busy| busy >= self.config.idle_permille * 1_000) {
            let lanes: Vec<usize> = (0..snapshot.targets.len()).collect();
            level(&mut levelling, &lanes, self.config.tolerance_percent);
        }
        Ok(levelling.owners(snapshot))
    }
}

export_placement!(LeastLoaded);

#[cfg(test)]
mod tests {
    use projectionist_sdk::policy::Target;
    use projectionist_sdk::testing::placement;

    use super::*;

    const SLOTS: usize = 1_024;

    /// The present table is what came out the last time; gives it when nothing moves any more, and
    /// how many slots have moved.
    fn settle(policy: &mut LeastLoaded, lanes: u32, loads: &[u32]) -> (Vec<TargetId>, usize) {
        let mut snapshot = Snapshot {
            targets: (0..lanes).map(|id| Target::new(id, "", 1)).collect(),
            owners: (0..SLOTS as u32).map(|slot| slot % lanes).collect(),
            slot_load: loads.to_vec(),
            move_budget: 64,
        };
        let mut moves = 0;
        for _ in 0..100 {
            let owners = policy.place(&snapshot).expect("there are lanes");
            let moved = owners
                .iter()
                .zip(&snapshot.owners)
                .filter(|(new, old)| new != old);
            let moved = moved.count();
            assert!(moved <= 64, "{moved}");
            if moved == 0 {
                return (owners, moves);
            }
            moves += moved;
            snapshot.owners = owners;
        }
        panic!("it does not come to rest");
    }

    fn most_to_mean(owners: &[TargetId], lanes: u32, loads: &[u32]) -> f64 {
        let mut busy = vec![0_u64; lanes as usize];
        for (&owner, &load) in owners.iter().zip(loads) {
            busy[owner as usize] += u64::from(load);
        }
        let mean = busy.iter().sum::<u64>() as f64 / f64::from(lanes);
        busy.into_iter().max().unwrap_or(0) as f64 / mean
    }

    /// Slots as busy as Zipf says, the busiest anywhere.
    fn zipf(exponent: f64) -> Vec<u32> {
        let mut loads = vec![0; SLOTS];
        for rank in 0..SLOTS {
            let load = 200_000.0 / ((rank + 1) as f64).powf(exponent);
            loads[rank * 389 % SLOTS] = load as u32;
        }
        loads
    }

    /// The target of the shipped policy: at most 1.15 × the mean, where no slot alone is above it.
    #[test]
    fn skewed_slots_come_to_even_lanes() {
        for lanes in [2, 4, 8] {
            for exponent in [0.5, 0.8] {
                let loads = zipf(exponent);
                let total: u64 = loads.iter().map(|&load| u64::from(load)).sum();
                let most = loads.iter().max().map_or(0, |&load| u64::from(load));
                assert!(most * u64::from(lanes) <= total, "a slot exceeds the mean");
                let mut policy: LeastLoaded = placement("").expect("the defaults");
                let (owners, moves) = settle(&mut policy, lanes, &loads);
                let spread = most_to_mean(&owners, lanes, &loads);
                assert!(spread <= 1.15, "{lanes} lanes, {exponent}: {spread}");
                assert!(moves < SLOTS / 2, "{moves} moves");
            }
        }
    }

    #[test]
    fn a_slot_that_exceeds_a_lane_keeps_one_for_itself() {
        let mut loads = vec![100; SLOTS];
        loads[5] = 900_000;
        let mut policy: LeastLoaded = placement("").expect("the defaults");
        let (owners, _) = settle(&mut policy, 4, &loads);
        let hot = owners[5];
        assert_eq!(owners.iter().filter(|&&owner| owner == hot).count(), 1);
        let others: Vec<usize> = (0..4)
            .filter(|lane| *lane != hot)
            .map(|lane| owners.iter().filter(|&&owner| owner == lane).count())
            .collect();
        assert!(
            others.iter().all(|slots| (320..360).contains(slots)),
            "{others:?}"
        );
    }

    #[test]
    fn lanes_that_have_little_to_do_are_left_alone() {
        let mut loads = vec![0; SLOTS];
        (loads[0], loads[4]) = (9_000, 9_000);
        let mut policy: LeastLoaded = placement("").expect("the defaults");
        assert_eq!(settle(&mut policy, 4, &loads).1, 0);
        let mut eager: LeastLoaded = placement(r#"{"idle-permille": 0}"#).expect("a setting");
        assert_eq!(settle(&mut eager, 4, &loads).1, 1);
    }

    #[test]
    fn a_moments_load_moves_nothing_for_long() {
        let mut policy: LeastLoaded = placement("").expect("the defaults");
        let even = vec![500; SLOTS];
        assert_eq!(settle(&mut policy, 4, &even).1, 0);
    }
}
