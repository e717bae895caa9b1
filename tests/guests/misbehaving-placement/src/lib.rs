//! A placement policy that does wrong as its configuration says, each time it is asked.

use projectionist_sdk::export_placement;
use projectionist_sdk::policy::{Placement, Snapshot, TargetId};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    does: Misdeed,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Misdeed {
    /// Everything to one lane.
    Same,
    /// Another table each time.
    Wander,
    Unknown,
    TooFew,
    TooMany,
    Panic,
    Loop,
    Refuse,
}

struct Misbehaving {
    does: Misdeed,
    asked: usize,
}

impl Placement for Misbehaving {
    const NAME: &str = "misbehaving-placement";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Misbehaving {
            does: config.does,
            asked: 0,
        })
    }

    fn place(&mut self, snapshot: &Snapshot) -> Result<Vec<TargetId>, String> {
        self.asked += 1;
        let slots = snapshot.slot_load.len();
        let target = |place: usize| snapshot.targets[place % snapshot.targets.len()].id;
        match self.does {
            Misdeed::Same => Ok(vec![target(0); slots]),
            Misdeed::Wander => Ok((0..slots).map(|slot| target(slot + self.asked)).collect()),
            Misdeed::Unknown => Ok(vec![u32::MAX; slots]),
            Misdeed::TooFew => Ok(vec![target(0); slots - 1]),
            Misdeed::TooMany => Ok(vec![target(0); 1 << 20]),
            Misdeed::Panic => panic!("told to"),
            Misdeed::Loop => loop {
                std::hint::black_box(self.asked);
            },
            Misdeed::Refuse => Err("told to".to_owned()),
        }
    }
}

export_placement!(Misbehaving);
