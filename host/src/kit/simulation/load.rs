//! The load of a simulation: a log that is replayed, or one that a seed makes.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;

use crate::balance::slots::SLOTS;

/// A read, as a line of a log has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Read {
    /// Since the start of the log; lines are in this order.
    pub at_ms: f64,
    pub key: String,
    /// Textual IP address.
    #[serde(default)]
    pub client: String,
}

/// Microseconds of work of each slot in one second.
pub type Second = Vec<u32>;

/// How reads are made.
#[derive(Clone, Copy, Debug)]
pub struct ReadPlan {
    pub seed: u64,
    pub reads_per_second: f64,
    pub seconds: f64,
    pub keys: usize,
    pub clients: usize,
    /// 0 reads all keys alike; the higher, the more reads go to few.
    pub zipf: f64,
}

/// How the work of slots is made.
#[derive(Clone, Copy, Debug)]
pub struct SlotPlan {
    pub seed: u64,
    pub seconds: usize,
    /// Of all slots together: how many lanes it would keep busy.
    pub lanes_busy: f64,
    /// 0 makes all slots alike; the higher, the more work is in few.
    pub zipf: f64,
    /// After so many seconds other slots are the busy ones; 0 for never.
    pub shift_seconds: usize,
}

/// A line of a log that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct WrongLine {
    line: usize,
    reason: String,
}

/// Draws ranks from 0 on, rank r by `1 / (r + 1)^exponent`.
struct Zipf {
    /// Sums of the weights up to each rank.
    sums: Vec<f64>,
}

impl Zipf {
    fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=count).map(|rank| (rank as f64).powf(-exponent));
        let sums = weights.map(|weight| {
            sum += weight;
            sum
        });
        Zipf {
            sums: sums.collect(),
        }
    }

    fn draw(&self, random: &mut StdRng) -> usize {
        let total = self.sums.last().copied().unwrap_or(0.0);
        let drawn = random.random_range(0.0..1.0) * total;
        self.sums.partition_point(|sum| *sum <= drawn)
    }
}

/// A number of an exponential distribution with this mean.
pub(super) fn exponential(random: &mut StdRng, mean: f64) -> f64 {
    let uniform: f64 = random.random_range(0.0..1.0);
    -(1.0 - uniform).ln() * mean
}

impl ReadPlan {
    /// Reads come one after the other as they do where many clients read (a Poisson process).
    pub fn reads(&self) -> Vec<Read> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let keys = Zipf::new(self.keys, self.zipf);
        let mut reads = Vec::new();
        let mut at_ms = 0.0;
        loop {
            at_ms += exponential(&mut random, 1_000.0 / self.reads_per_second);
            if at_ms > self.seconds * 1_000.0 {
                return reads;
            }
            let client = random.random_range(0..self.clients.max(1));
            reads.push(Read {
                at_ms,
                key: format!("key-{}", keys.draw(&mut random)),
                // A network each, as far as there are any: ip-hash looks at no more.
                client: format!("10.{}.{}.1", client / 256 % 256, client % 256),
            });
        }
    }
}

impl SlotPlan {
    pub fn seconds(&self) -> Vec<Second> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let weights: Vec<f64> = (1..=SLOTS)
            .map(|rank| (rank as f64).powf(-self.zipf))
            .collect();
        let unit = self.lanes_busy * 1e6 / weights.iter().sum::<f64>();
        let mut slots: Vec<usize> = (0..SLOTS).collect();
        let second = |number: usize| {
            let shifts = self.shift_seconds > 0 && number.is_multiple_of(self.shift_seconds);
            if number == 0 || shifts {
                shuffle(&mut slots, &mut random);
            }
            let mut loads = vec![0; SLOTS];
            for (&slot, weight) in slots.iter().zip(&weights) {
                // No second is quite like the other.
                let noise = random.random_range(0.8..1.2);
                loads[slot] = (weight * unit * noise) as u32;
            }
            loads
        };
        (0..self.seconds).map(second).collect()
    }
}

/// Fisher and Yates.
fn shuffle(slots: &mut [usize], random: &mut StdRng) {
    for last in (1..slots.len()).rev() {
        slots.swap(last, random.random_range(0..=last));
    }
}

/// Reads a log of reads: a JSON object a line.
///
/// # Errors
///
/// The first line that is no read, or comes before the one before it.
pub fn reads(text: &str) -> Result<Vec<Read>, WrongLine> {
    let mut before_ms = 0.0;
    lines(text)
        .map(|(line, text)| {
            let wrong = |reason: String| WrongLine { line, reason };
            let read: Read =
                serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
            if !read.at_ms.is_finite() || read.at_ms < before_ms {
                return Err(wrong(format!(
                    "at-ms is {}, after {before_ms}; reads are in the order of their times",
                    read.at_ms
                )));
            }
            before_ms = read.at_ms;
            Ok(read)
        })
        .collect()
}

/// Reads a log of slots: a JSON object for each second, with microseconds of work by slot.
///
/// # Errors
///
/// The first line that is none.
pub fn seconds(text: &str) -> Result<Vec<Second>, WrongLine> {
    lines(text)
        .map(|(line, text)| {
            let wrong = |reason: String| WrongLine { line, reason };
            let named: BTreeMap<usize, u32> =
                serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
            let mut loads = vec![0; SLOTS];
            for (slot, load) in named {
                let of_slot = loads.get_mut(slot).ok_or_else(|| {
                    wrong(format!(
                        "there is no slot {slot}; they go up to {}",
                        SLOTS - 1
                    ))
                })?;
                *of_slot = load;
            }
            Ok(loads)
        })
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = (1..).zip(text.lines());
    numbered.filter(|(_, line)| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_reads() {
        let plan = ReadPlan {
            seed: 7,
            reads_per_second: 1_000.0,
            seconds: 10.0,
            keys: 100,
            clients: 300,
            zipf: 1.0,
        };
        let reads = plan.reads();
        assert_eq!(reads, plan.reads());
        assert!((9_500..10_500).contains(&reads.len()), "{}", reads.len());
        assert!(reads.is_sorted_by_key(|read| read.at_ms));
        // The first of a hundred keys has 1 / 5.19 of all reads.
        let hottest = reads.iter().filter(|read| read.key == "key-0").count();
        assert!((1_700..2_150).contains(&hottest), "{hottest}");
    }

    #[test]
    fn slots_have_the_work_that_was_asked_for() {
        let plan = SlotPlan {
            seed: 7,
            seconds: 4,
            lanes_busy: 2.0,
            zipf: 0.9,
            shift_seconds: 2,
        };
        let seconds = plan.seconds();
        let busiest = |second: &Second| {
            let slots = second.iter().enumerate();
            slots.max_by_key(|(_, load)| **load).map(|(slot, _)| slot)
        };
        for second in &seconds {
            let sum: u32 = second.iter().sum();
            assert!((1_700_000..2_300_000).contains(&sum), "{sum}");
        }
        assert_eq!(busiest(&seconds[0]), busiest(&seconds[1]));
        assert_ne!(busiest(&seconds[1]), busiest(&seconds[2]));
    }

    #[test]
    fn logs_are_read_line_by_line_and_a_wrong_line_is_named() {
        let log = "{\"at-ms\": 0, \"key\": \"a\", \"client\": \"10.0.0.1\"}\n\n\
                   {\"at-ms\": 1.5, \"key\": \"b\"}\n";
        let read = reads(log).expect("two reads");
        assert_eq!((read[0].key.as_str(), read[1].at_ms), ("a", 1.5));
        let second = seconds("{\"0\": 5, \"1023\": 7}\n").expect("a second");
        assert_eq!((second[0][0], second[0][1023]), (5, 7));

        let wrong = |text: &str| reads(text).map(|_| ()).expect_err(text).to_string();
        let late = "{\"at-ms\": 2, \"key\": \"a\"}\n{\"at-ms\": 1, \"key\": \"b\"}";
        assert_eq!(
            wrong(late),
            "line 2: at-ms is 1, after 2; reads are in the order of their times"
        );
        assert!(wrong("{\"at-ms\": 2}").starts_with("line 1: missing field `key`"));
        let slot = seconds("{}\n{\"1024\": 1}").expect_err("there is no such slot");
        assert_eq!(
            slot.to_string(),
            "line 2: there is no slot 1024; they go up to 1023"
        );
    }
}
