//! The projection of the benchmarks: one document for each key, with the last value's fields, how
//! many there were, and a chain over their order, which any event lost, doubled or swapped breaks.
//!
//! With `work_rounds` it also computes for a while per event, as a projection does that decodes
//! or decides much.

use std::borrow::Cow;

use projectionist_sdk::{Event, Projection, Reject, export};
use serde::{Deserialize, Serialize};

pub struct Latest {
    work_rounds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rounds of [`work`] per event.
    #[serde(default)]
    work_rounds: u64,
}

#[derive(Deserialize)]
pub struct Value<'a> {
    n: u64,
    at_us: u64,
    #[serde(borrow)]
    pad: Cow<'a, str>,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Document {
    count: u64,
    chain: i64,
    n: u64,
    at_us: u64,
    pad: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<i64>,
}

impl Projection for Latest {
    const NAME: &str = "bench-latest";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const VIEW: &str = "latest";
    type Config = Config;
    type Event<'a> = Value<'a>;
    type Document = Document;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Latest {
            work_rounds: config.work_rounds,
        })
    }

    fn fold(
        &self,
        event: &Event<Value>,
        _key: &str,
        document: &mut Option<Document>,
    ) -> Result<(), Reject> {
        let Some(value) = &event.value else {
            *document = None;
            return Ok(());
        };
        let document = document.get_or_insert_default();
        document.take(value, self.work_rounds);
        Ok(())
    }
}

export!(Latest);

impl Document {
    /// Takes one value in, with so many rounds of [`work`].
    pub fn take(&mut self, value: &Value, work_rounds: u64) {
        self.count += 1;
        let n = value.n.cast_signed();
        self.chain = self.chain.wrapping_mul(31).wrapping_add(n);
        self.n = value.n;
        self.at_us = value.at_us;
        self.pad.clear();
        self.pad.push_str(&value.pad);
        if work_rounds > 0 {
            self.work = Some(work(value.n, work_rounds));
        }
    }
}

/// Computes for a time in proportion to `rounds`: SplitMix64, each round on the result of the one
/// before.
///
/// Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
pub fn work(seed: u64, rounds: u64) -> i64 {
    let mut state = seed;
    for _ in 0..rounds {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state.cast_signed()
}
