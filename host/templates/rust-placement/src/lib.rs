//! Moves one slot a second: the busiest one of the busiest lane that fits, to the idlest lane.

use projectionist_sdk::export_placement;
use projectionist_sdk::policy::{Placement, Snapshot, TargetId};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// A lane that folds for less of a second than this is left alone.
    idle_us: u64,
}

struct OneByOne(Config);

impl Placement for OneByOne {
    const NAME: &str = "{{name}}";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "Moves one slot a second, from the busiest lane to the idlest.";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object",
        "required": ["idle-us"],
        "properties": { "idle-us": { "type": "integer", "minimum": 0 } },
        "additionalProperties": false
    }"#;
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(OneByOne(config))
    }

    fn place(&mut self, snapshot: &Snapshot) -> Result<Vec<TargetId>, String> {
        let mut owners = snapshot.owners.clone();
        let load = |slot: usize| u64::from(snapshot.slot_load[slot]);
        let busy = |lane: TargetId| -> u64 {
            let slots = (0..owners.len()).filter(|&slot| owners[slot] == lane);
            slots.map(load).sum()
        };
        let lanes = snapshot
            .targets
            .iter()
            .map(|target| (busy(target.id), target.id));
        let (Some((most, busiest)), Some((least, idlest))) = (lanes.clone().max(), lanes.min())
        else {
            return Err("there is no lane".to_owned());
        };
        if most >= self.0.idle_us {
            let of_busiest = (0..owners.len()).filter(|&slot| owners[slot] == busiest);
            // More than half of the gap would make the other lane the busiest one.
            let fitting = of_busiest.filter(|&slot| load(slot) * 2 <= most - least);
            if let Some(slot) = fitting.max_by_key(|&slot| load(slot)) {
                owners[slot] = idlest;
            }
        }
        Ok(owners)
    }
}

export_placement!(OneByOne);

#[cfg(test)]
mod tests {
    use projectionist_sdk::policy::Target;
    use projectionist_sdk::testing::placement;

    use super::*;

    #[test]
    fn the_busiest_slot_that_fits_moves_to_the_idlest_lane() {
        let mut policy: OneByOne = placement(r#"{"idle-us": 100}"#).expect("a number");
        let mut snapshot = Snapshot {
            targets: vec![Target::new(0, "lane-0", 1), Target::new(1, "lane-1", 1)],
            owners: vec![0, 1, 0, 1],
            slot_load: vec![900, 100, 300, 100],
            move_budget: 64,
        };
        assert_eq!(policy.place(&snapshot), Ok(vec![0, 1, 1, 1]));
        snapshot.slot_load = vec![50, 0, 10, 0];
        assert_eq!(policy.place(&snapshot), Ok(vec![0, 1, 0, 1]));
    }
}
