//! The copy that answers soonest: nginx's `least_time`.
//!
//! Of each copy there is a moving average of the time of its answers, into which a new one goes by
//! a twentieth. Averages are rounded to steps of 20 units up to 5,000, so that small differences do
//! not matter; the cost of a copy is its average times the reads under way, this one included, for
//! its weight. Equal costs take turns.
//!
//! - Only answers count: a copy that fails fast does not look fast.
//! - A copy that is passed over again and again counts as a little faster each time, so that it is
//!   asked again and shows whether it still is slow.
//!
//! nginx's unit is a millisecond. Reads by id take less, so the unit is a setting here.

use policy_parts::Turns;
use projectionist_sdk::export_routing;
use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
use serde::Deserialize;

const STEP: u64 = 20;
const AVERAGE_MAX: u64 = 5_000;
/// A copy that was passed over in so many picks is taken for one that has answered at once.
const PASSED_MAX: u32 = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Microseconds in a unit.
    #[serde(default = "unit_us")]
    unit_us: u64,
}

pub struct LeastTime {
    config: Config,
    averages: Vec<Average>,
    turns: Turns,
}

struct Average {
    id: TargetId,
    /// In units; `None` before the first answer.
    value: Option<u64>,
    passed: u32,
}

fn unit_us() -> u64 {
    50
}

impl Routing for LeastTime {
    const NAME: &str = "least-time";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str =
        "The copy that answers soonest, by its average and what it has to do.";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "unit-us": {
                "description": "microseconds in a unit of time; latencies within 20 units are alike, and all above 5000; nginx has 1000",
                "type": "integer", "minimum": 1, "maximum": 1000000
            }
        },
        "additionalProperties": false
    }"#;
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if config.unit_us == 0 {
            return Err("unit-us is 0; a unit has 1 microsecond at least".to_owned());
        }
        Ok(LeastTime {
            config,
            averages: Vec::new(),
            turns: Turns::default(),
        })
    }

    fn pick(&mut self, _: &Request, eligible: &[Target]) -> Result<TargetId, String> {
        let mut least: Option<(u64, u64)> = None;
        for target in eligible {
            let (cost, weight) = self.cost(target);
            if least.is_none_or(|(least, of)| cost * of < least * weight) {
                least = Some((cost, weight));
            }
        }
        let (least, of) = least.ok_or("nobody is eligible")?;
        let costs: Vec<(u64, u64)> = eligible.iter().map(|target| self.cost(target)).collect();
        let equal = eligible.iter().zip(costs);
        let equal = equal.filter(|(_, (cost, weight))| cost * of == least * weight);
        let picked = self.turns.next(equal.map(|(target, _)| target));
        let picked = picked.ok_or("nobody is eligible")?;
        for target in eligible {
            self.average(target.id).passes(picked, target.in_flight);
        }
        Ok(picked)
    }

    fn observe(&mut self, target: TargetId, latency_us: u32, ok: bool) {
        if ok {
            let units = u64::from(latency_us).div_ceil(self.config.unit_us);
            self.average(target).take(units);
        }
    }
}

impl LeastTime {
    /// What has to be divided by what: a copy without weight costs most.
    fn cost(&mut self, target: &Target) -> (u64, u64) {
        let average = stepped(self.average(target.id).value.unwrap_or(0));
        let cost = average * (1 + u64::from(target.in_flight));
        (cost, u64::from(target.weight))
    }

    fn average(&mut self, id: TargetId) -> &mut Average {
        let known = self.averages.iter().position(|average| average.id == id);
        let place = known.unwrap_or_else(|| {
            self.averages.push(Average {
                id,
                value: None,
                passed: 0,
            });
            self.averages.len() - 1
        });
        &mut self.averages[place]
    }
}

impl Average {
    fn take(&mut self, units: u64) {
        self.value = Some(match self.value {
            None => units,
            // int(0.5 + 0.05 × new + 0.95 × old)
            Some(old) => (10 + units + 19 * old) / 20,
        });
    }

    fn passes(&mut self, picked: TargetId, in_flight: u32) {
        if self.id == picked || in_flight > 0 {
            self.passed = 0;
            return;
        }
        self.passed += 1;
        if self.passed >= PASSED_MAX {
            self.passed = 0;
            if self.value.is_some() {
                self.take(0);
            }
        }
    }
}

fn stepped(average: u64) -> u64 {
    if average > AVERAGE_MAX {
        return AVERAGE_MAX;
    }
    average + STEP - average % STEP
}

export_routing!(LeastTime);

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::routing;

    use super::*;

    fn request() -> Request {
        Request {
            key: Vec::new(),
            client: String::new(),
            tried: Vec::new(),
        }
    }

    fn policy() -> LeastTime {
        routing(r#"{"unit-us": 1000}"#).expect("a unit")
    }

    fn two() -> [Target; 2] {
        [Target::new(1, "", 1), Target::new(2, "", 1)]
    }

    #[test]
    fn an_average_takes_a_twentieth_of_what_is_new() {
        let mut policy = policy();
        let averages = [100, 200, 0].map(|ms| {
            policy.observe(1, ms * 1_000, true);
            policy.average(1).value
        });
        assert_eq!(averages, [Some(100), Some(105), Some(100)]);
    }

    #[test]
    fn averages_are_rounded_up_to_steps() {
        let stepped = [0, 19, 20, 4_999, 5_000, 5_001, 9_000].map(stepped);
        assert_eq!(stepped, [20, 20, 40, 5_000, 5_020, 5_000, 5_000]);
    }

    #[test]
    fn the_copy_that_answers_soonest_is_asked() {
        let (mut policy, mut targets) = (policy(), two());
        policy.observe(1, 10_000, true);
        policy.observe(2, 100_000, true);
        assert_eq!(policy.pick(&request(), &targets), Ok(1));
        // 20 × 7 > 120: it has as much to do as the slow one would take.
        targets[0].in_flight = 6;
        assert_eq!(policy.pick(&request(), &targets), Ok(2));
        targets[0].weight = 2;
        assert_eq!(policy.pick(&request(), &targets), Ok(1));
    }

    #[test]
    fn a_copy_that_fails_fast_does_not_look_fast() {
        let (mut policy, targets) = (policy(), two());
        policy.observe(1, 50_000, true);
        policy.observe(2, 100_000, true);
        for _ in 0..100 {
            policy.observe(2, 100, false);
        }
        assert_eq!(policy.pick(&request(), &targets), Ok(1));
    }

    #[test]
    fn small_differences_take_turns() {
        let (mut policy, targets) = (policy(), two());
        policy.observe(1, 3_000, true);
        policy.observe(2, 17_000, true);
        let turns = [(); 4].map(|()| policy.pick(&request(), &targets));
        assert_eq!(turns, [Ok(1), Ok(2), Ok(1), Ok(2)]);
    }

    #[test]
    fn a_slow_copy_is_asked_again_after_a_while() {
        let (mut policy, targets) = (policy(), two());
        policy.observe(1, 10_000, true);
        policy.observe(2, 100_000, true);
        let again = (0..100_000).find(|_| policy.pick(&request(), &targets) == Ok(2));
        assert!(again.is_some_and(|picks| picks > 1_000), "{again:?}");
    }

    #[test]
    fn no_unit_is_refused() {
        let error = routing::<LeastTime>(r#"{"unit-us": 0}"#).err();
        assert_eq!(
            error.as_deref(),
            Some("unit-us is 0; a unit has 1 microsecond at least")
        );
    }
}
