//! Of two copies taken at random, the one with the lower cost: its latency times the reads under
//! way, this one included, for its weight.
//!
//! The latency is a moving average that jumps up to a peak at once and comes down slowly, so a copy
//! that stumbles is left alone from its first slow answer on. Source: Finagle's and tower's Peak
//! EWMA. A failure counts as a peak, however fast it was.
//!
//! A policy has no clock. What passes as time here follows from Little's law: of answers that took
//! so long, with so many under way at once, each is its latency divided by their number. Where
//! nothing is asked, no time passes, and nothing has to be forgotten.

use policy_parts::{Generator, Turns};
use projectionist_sdk::export_routing;
use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// How long it takes until a peak counts for a third only.
    decay_ms: f64,
    /// What a copy is taken to need before its first answer, and where it fails.
    default_ms: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            decay_ms: 10_000.0,
            default_ms: 30.0,
        }
    }
}

pub struct PeakEwma {
    config: Config,
    latencies: Vec<Latency>,
    /// Microseconds, since the start of the instance.
    now_us: f64,
    /// Reads under way at the last pick, that one included.
    in_flight: f64,
    generator: Generator,
    turns: Turns,
}

struct Latency {
    id: TargetId,
    average_us: f64,
    /// When it was brought up to date.
    at_us: f64,
}

impl Routing for PeakEwma {
    const NAME: &str = "peak-ewma";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str =
        "Of two copies taken at random, the one with the lower peak of latency for what it does.";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "decay-ms": {
                "description": "how long it takes until a peak counts for a third only",
                "type": "number", "exclusiveMinimum": 0
            },
            "default-ms": {
                "description": "what a copy is taken to need before its first answer, and where it fails",
                "type": "number", "exclusiveMinimum": 0
            }
        },
        "additionalProperties": false
    }"#;
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        for (name, value) in [
            ("decay-ms", config.decay_ms),
            ("default-ms", config.default_ms),
        ] {
            if !value.is_finite() || value <= 0.0 {
                return Err(format!("{name} is {value}; it is more than 0"));
            }
        }
        Ok(PeakEwma {
            config,
            latencies: Vec::new(),
            now_us: 0.0,
            in_flight: 1.0,
            generator: Generator::default(),
            turns: Turns::default(),
        })
    }

    fn pick(&mut self, request: &Request, eligible: &[Target]) -> Result<TargetId, String> {
        let in_flight: f64 = eligible
            .iter()
            .map(|target| f64::from(target.in_flight))
            .sum();
        self.in_flight = in_flight + 1.0;
        self.generator.stir(&request.key);
        let Some((first, second)) = self.generator.choose_two(eligible) else {
            return self.turns.pick(eligible);
        };
        let (first, second) = (&eligible[first], &eligible[second]);
        let is_dearer = self.cost(second) * f64::from(first.weight)
            > self.cost(first) * f64::from(second.weight);
        Ok(if is_dearer { first.id } else { second.id })
    }

    fn observe(&mut self, target: TargetId, latency_us: u32, ok: bool) {
        let latency_us = f64::from(latency_us);
        self.now_us += latency_us / self.in_flight;
        let default_us = self.config.default_ms * 1e3;
        let latency_us = if ok {
            latency_us
        } else {
            latency_us.max(default_us)
        };
        let (kept, now_us) = (self.kept(target), self.now_us);
        let latency = self.latency(target);
        latency.average_us = if latency_us > latency.average_us {
            latency_us
        } else {
            latency.average_us * kept + latency_us * (1.0 - kept)
        };
        latency.at_us = now_us;
    }
}

impl PeakEwma {
    /// Left alone, a copy comes down to nothing: it is asked again one day.
    fn cost(&mut self, target: &Target) -> f64 {
        let kept = self.kept(target.id);
        self.latency(target.id).average_us * kept * (f64::from(target.in_flight) + 1.0)
    }

    /// How much of a copy's average is left now.
    fn kept(&mut self, id: TargetId) -> f64 {
        let (now_us, decay_us) = (self.now_us, self.config.decay_ms * 1e3);
        (-(now_us - self.latency(id).at_us) / decay_us).exp()
    }

    fn latency(&mut self, id: TargetId) -> &mut Latency {
        let known = self.latencies.iter().position(|latency| latency.id == id);
        let place = known.unwrap_or_else(|| {
            self.latencies.push(Latency {
                id,
                average_us: self.config.default_ms * 1e3,
                at_us: self.now_us,
            });
            self.latencies.len() - 1
        });
        &mut self.latencies[place]
    }
}

export_routing!(PeakEwma);

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::routing;

    use super::*;

    fn request(key: u32) -> Request {
        Request {
            key: key.to_le_bytes().to_vec(),
            client: String::new(),
            tried: Vec::new(),
        }
    }

    fn policy() -> PeakEwma {
        routing("").expect("the defaults")
    }

    fn average_ms(policy: &mut PeakEwma, id: TargetId) -> f64 {
        policy.latency(id).average_us / 1e3
    }

    #[test]
    fn an_average_jumps_up_and_comes_down_slowly() {
        let mut policy = policy();
        assert!((average_ms(&mut policy, 1) - 30.0).abs() < 1e-9);
        policy.observe(1, 200_000, true);
        assert!((average_ms(&mut policy, 1) - 200.0).abs() < 1e-9);
        policy.observe(1, 10_000, true);
        // 10 ms have passed of 10 s: a thousandth of the difference has gone.
        let expected = 200.0 - 190.0 * (1.0 - (-0.001_f64).exp());
        assert!((average_ms(&mut policy, 1) - expected).abs() < 1e-6);
        for _ in 0..1_000 {
            policy.observe(1, 10_000, true);
        }
        // Ten seconds later a third is left, about.
        let left = (average_ms(&mut policy, 1) - 10.0) / 190.0;
        assert!((0.35..0.39).contains(&left), "{left}");
    }

    #[test]
    fn a_copy_that_stumbles_is_left_alone_and_tried_again_later() {
        let targets = [Target::new(1, "", 1), Target::new(2, "", 1)];
        let mut policy = policy();
        policy.observe(1, 1_000, true);
        policy.observe(2, 1_000, true);
        policy.observe(2, 2_000_000, true);
        let mut waited = 0;
        while policy.pick(&request(waited), &targets) == Ok(1) {
            policy.observe(1, 1_000, true);
            waited += 1;
            assert!(waited < 1_000_000, "it is never tried again");
        }
        // A peak of 2 s against an average that comes down from 30 ms, as time goes by in the
        // milliseconds of the answers.
        assert!(waited > 10_000, "{waited}");
    }

    #[test]
    fn a_failure_is_a_peak_however_fast_it_was() {
        let mut policy = policy();
        for _ in 0..100_000 {
            policy.observe(1, 1_000, true);
        }
        assert!(average_ms(&mut policy, 1) < 1.1);
        policy.observe(1, 10, false);
        assert!((average_ms(&mut policy, 1) - 30.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_under_way_counts() {
        let mut targets = [Target::new(1, "", 1), Target::new(2, "", 1)];
        let mut policy = policy();
        policy.observe(1, 50_000, true);
        policy.observe(2, 60_000, true);
        assert_eq!(policy.pick(&request(1), &targets), Ok(1));
        targets[0].in_flight = 1;
        assert_eq!(policy.pick(&request(2), &targets), Ok(2));
        targets[0].weight = 4;
        assert_eq!(policy.pick(&request(3), &targets), Ok(1));
    }

    #[test]
    fn settings_that_are_none_are_refused() {
        let error = routing::<PeakEwma>(r#"{"decay-ms": 0}"#).err();
        assert_eq!(error.as_deref(), Some("decay-ms is 0; it is more than 0"));
    }
}
