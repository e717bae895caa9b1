//! Copies take turns by their weights: nginx's smooth weighted round robin.
//!
//! With the weights 5, 1 and 1 the turns are a a b a c a a: no copy gets a burst.

use policy_parts::Turns;
use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
use projectionist_sdk::{NoConfig, export_routing};

#[derive(Default)]
pub struct RoundRobin(Turns);

impl Routing for RoundRobin {
    const NAME: &str = "round-robin";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "Copies take turns by their weights.";
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(RoundRobin::default())
    }

    fn pick(&mut self, _: &Request, eligible: &[Target]) -> Result<TargetId, String> {
        self.0.pick(eligible)
    }
}

export_routing!(RoundRobin);

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

    fn turns(weights: &[u32], count: usize) -> String {
        let target = |(id, weight): (u32, &u32)| Target::new(id, "", *weight);
        let targets: Vec<Target> = (0..).zip(weights).map(target).collect();
        let mut policy: RoundRobin = routing("").expect("no settings");
        let turn = |_| {
            let id = policy.pick(&request(), &targets).expect("somebody");
            ["a", "b", "c"][id as usize]
        };
        (0..count).map(turn).collect()
    }

    /// nginx's own vectors.
    #[test]
    fn copies_take_turns_by_their_weights() {
        assert_eq!(turns(&[5, 1, 1], 14), "aabacaaaabacaa");
        assert_eq!(turns(&[1, 2, 3], 12), "cbacbccbacbc");
        assert_eq!(turns(&[1, 1], 4), "abab");
        assert_eq!(turns(&[0, 1], 3), "bbb");
    }

    #[test]
    fn a_copy_that_was_out_does_not_catch_up() {
        let targets = [1, 2, 3].map(|id| Target::new(id, "", 1));
        let mut policy: RoundRobin = routing("").expect("no settings");
        let mut turn = |eligible: &[Target]| policy.pick(&request(), eligible).expect("somebody");
        for _ in 0..50 {
            assert_ne!(turn(&targets[1..]), 1);
        }
        let first = (0..30).filter(|_| turn(&targets) == 1).count();
        assert_eq!(first, 10);
    }

    #[test]
    fn of_no_copy_none_is_picked() {
        let mut policy: RoundRobin = routing("").expect("no settings");
        assert_eq!(
            policy.pick(&request(), &[]),
            Err("nobody is eligible".to_owned())
        );
    }
}
