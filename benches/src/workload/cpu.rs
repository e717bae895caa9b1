//! The keys of `hot`, with much to compute for each event.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::{Subject, hot};

/// What native code needs for an event's work.
const WORK: Duration = Duration::from_micros(20);

pub(super) fn subjects(seed: u64) -> impl Iterator<Item = Subject> {
    hot::subjects(seed)
}

/// How many rounds of [`bench_latest::work`] take 20 µs on this machine.
///
/// The shortest of many short spells counts: whatever else the machine does only makes it longer.
pub fn calibrated_rounds() -> u64 {
    const ROUNDS: u64 = 10_000;
    let shortest = (0..200)
        .map(|seed| {
            let started = Instant::now();
            black_box(bench_latest::work(black_box(seed), ROUNDS));
            started.elapsed()
        })
        .min()
        .unwrap_or_default();
    let rounds = WORK.as_secs_f64() / shortest.as_secs_f64() * ROUNDS as f64;
    rounds.round() as u64
}
