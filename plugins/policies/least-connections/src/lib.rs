//! The copy with the fewest reads under way for its weight: nginx's `least_conn`.
//!
//! Copies that have equally few take turns by their weights. Source: nginx,
//! `ngx_http_upstream_get_least_conn_peer`.
//!
//! What a host counts are its own reads; it knows nothing of those of other hosts.

use policy_parts::Turns;
use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
use projectionist_sdk::{NoConfig, export_routing};

#[derive(Default)]
pub struct LeastConnections(Turns);

impl Routing for LeastConnections {
    const NAME: &str = "least-connections";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "The copy with the fewest reads under way for its weight.";
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(LeastConnections::default())
    }

    fn pick(&mut self, _: &Request, eligible: &[Target]) -> Result<TargetId, String> {
        let least = eligible
            .iter()
            .reduce(|best, target| if is_less(target, best) { target } else { best })
            .ok_or("nobody is eligible")?;
        let mut equal = eligible
            .iter()
            .filter(|target| !is_less(target, least) && !is_less(least, target));
        let is_alone = equal.clone().count() == 1;
        let id = match is_alone {
            true => equal.next().map(|target| target.id),
            false => self.0.next(equal),
        };
        Ok(id.unwrap_or(least.id))
    }
}

/// Whether one has fewer reads for its weight than another, compared without a division.
fn is_less(one: &Target, other: &Target) -> bool {
    let cost = |of: &Target, by: &Target| u64::from(of.in_flight) * u64::from(by.weight);
    cost(one, other) < cost(other, one)
}

export_routing!(LeastConnections);

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::routing;

    use super::*;

    /// Reads that are all held: what each copy has in the end, and the order of the picks.
    fn held(weights: &[u32], reads: usize) -> (Vec<u32>, String) {
        let target = |(id, weight): (u32, &u32)| Target::new(id, "", *weight);
        let mut targets: Vec<Target> = (0..).zip(weights).map(target).collect();
        let mut policy: LeastConnections = routing("").expect("no settings");
        let request = Request {
            key: Vec::new(),
            client: String::new(),
            tried: Vec::new(),
        };
        let mut order = String::new();
        for _ in 0..reads {
            let id = policy.pick(&request, &targets).expect("somebody") as usize;
            targets[id].in_flight += 1;
            order.push_str(["a", "b", "c"][id]);
        }
        let counts = targets.iter().map(|target| target.in_flight);
        (counts.collect(), order)
    }

    #[test]
    fn copies_fill_up_by_their_weights() {
        assert_eq!(held(&[1, 1, 1], 9).0, [3, 3, 3]);
        assert_eq!(held(&[1, 2, 3], 60).0, [10, 20, 30]);
        // The third finds both equal, and it is b's turn since a was picked in the first tie.
        assert_eq!(held(&[1, 1], 4).1, "abba");
    }

    #[test]
    fn a_copy_that_is_slow_gets_less() {
        let mut targets = [Target::new(1, "", 1), Target::new(2, "", 1)];
        targets[0].in_flight = 3;
        let mut policy: LeastConnections = routing("").expect("no settings");
        let request = Request {
            key: Vec::new(),
            client: String::new(),
            tried: Vec::new(),
        };
        for reads in 0..3 {
            targets[1].in_flight = reads;
            assert_eq!(policy.pick(&request, &targets), Ok(2));
        }
    }

    #[test]
    fn idle_copies_take_turns() {
        let targets = [1, 2, 3].map(|id| Target::new(id, "", 1));
        let mut policy: LeastConnections = routing("").expect("no settings");
        let request = Request {
            key: Vec::new(),
            client: String::new(),
            tried: Vec::new(),
        };
        let turns = [(); 6].map(|()| policy.pick(&request, &targets).expect("somebody"));
        assert_eq!(turns, [1, 2, 3, 1, 2, 3]);
    }
}
