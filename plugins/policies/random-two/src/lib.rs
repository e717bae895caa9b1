//! Of two copies taken at random, the one with fewer reads under way for its weight: nginx's
//! `random two`.
//!
//! Nearly as even as looking at all copies, and unlike that, hosts that know nothing of one another
//! do not all run to the same idle copy (Mitzenmacher, *The power of two choices*, 2001).

use policy_parts::{Generator, Turns};
use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
use projectionist_sdk::{NoConfig, export_routing};

#[derive(Default)]
pub struct RandomTwo {
    generator: Generator,
    turns: Turns,
}

impl Routing for RandomTwo {
    const NAME: &str = "random-two";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "Of two copies taken at random, the one with fewer reads under way.";
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(RandomTwo::default())
    }

    fn pick(&mut self, request: &Request, eligible: &[Target]) -> Result<TargetId, String> {
        self.generator.stir(&request.key);
        let Some((first, second)) = self.generator.choose_two(eligible) else {
            return self.turns.pick(eligible);
        };
        let (first, second) = (&eligible[first], &eligible[second]);
        let cost = |of: &Target, by: &Target| u64::from(of.in_flight) * u64::from(by.weight);
        let is_busier = cost(second, first) > cost(first, second);
        Ok(if is_busier { first.id } else { second.id })
    }
}

export_routing!(RandomTwo);

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

    /// A thousand reads that are held, over a thousand copies: 3 at most on one as a rule, where a
    /// random copy alone would have 5 or 6.
    #[test]
    fn two_choices_keep_the_most_loaded_copy_low() {
        let mut most = Vec::new();
        for round in 0..20 {
            let mut policy: RandomTwo = routing("").expect("no settings");
            let mut targets: Vec<Target> = (0..1_000).map(|id| Target::new(id, "", 1)).collect();
            for read in 0..1_000 {
                let id = policy.pick(&request(round * 1_000 + read), &targets);
                targets[id.expect("somebody") as usize].in_flight += 1;
            }
            most.extend(targets.iter().map(|target| target.in_flight).max());
        }
        let mean = f64::from(most.iter().sum::<u32>()) / 20.0;
        assert!((2.5..3.6).contains(&mean), "{most:?}");
    }

    #[test]
    fn of_two_copies_the_less_busy_one_is_picked_for_its_weight() {
        let mut targets = [Target::new(1, "", 1), Target::new(2, "", 4)];
        targets[0].in_flight = 2;
        targets[1].in_flight = 7;
        let mut policy: RandomTwo = routing("").expect("no settings");
        for key in 0..50 {
            assert_eq!(policy.pick(&request(key), &targets), Ok(2));
        }
    }

    #[test]
    fn one_copy_is_enough() {
        let mut policy: RandomTwo = routing("").expect("no settings");
        assert_eq!(policy.pick(&request(1), &[Target::new(7, "", 1)]), Ok(7));
        assert!(policy.pick(&request(1), &[]).is_err());
    }
}
