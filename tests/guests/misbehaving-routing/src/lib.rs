//! A routing policy that does wrong as its configuration says, at every pick or at every so many.

use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
use projectionist_sdk::{export_routing, host};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    does: Misdeed,
    /// Every so many picks it does wrong; the others are the first that is eligible.
    #[serde(default = "always")]
    every: u32,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Misdeed {
    /// The same target always, eligible or not.
    Same,
    /// Another target each time, eligible or not.
    Wander,
    Unknown,
    Panic,
    Loop,
    Memory,
    Refuse,
    Chatter,
    PanicInObserve,
    LoopInObserve,
}

struct Misbehaving {
    config: Config,
    picks: u32,
    hoard: Vec<Vec<u8>>,
}

fn always() -> u32 {
    1
}

impl Routing for Misbehaving {
    const NAME: &str = "misbehaving-routing";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const CONFIG_SCHEMA: &str = r#"{"type": "object", "required": ["does"]}"#;
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        match config.every {
            0 => Err("every is 0; it is 1 at least".to_owned()),
            _ => Ok(Misbehaving {
                config,
                picks: 0,
                hoard: Vec::new(),
            }),
        }
    }

    fn pick(&mut self, _: &Request, eligible: &[Target]) -> Result<TargetId, String> {
        self.picks += 1;
        if !self.picks.is_multiple_of(self.config.every) {
            return Ok(eligible[0].id);
        }
        match self.config.does {
            Misdeed::Same => return Ok(1),
            Misdeed::Wander => return Ok(self.picks % 3 + 1),
            Misdeed::Unknown => return Ok(u32::MAX),
            Misdeed::Panic => panic!("told to"),
            Misdeed::Loop => spin(),
            Misdeed::Memory => loop {
                self.hoard.push(Vec::with_capacity(64 << 20));
            },
            Misdeed::Refuse => return Err("told to".to_owned()),
            Misdeed::Chatter => {
                for line in 0..10 {
                    host::info(format_args!("{line}: {}", "x".repeat(10_000)));
                }
            }
            Misdeed::PanicInObserve | Misdeed::LoopInObserve => {}
        }
        Ok(eligible[0].id)
    }

    fn observe(&mut self, _: TargetId, _: u32, _: bool) {
        match self.config.does {
            Misdeed::PanicInObserve => panic!("told to"),
            Misdeed::LoopInObserve => spin(),
            _ => {}
        }
    }
}

fn spin() {
    let mut turns = 0_u64;
    while std::hint::black_box(turns) < u64::MAX {
        turns += 1;
    }
}

export_routing!(Misbehaving);
