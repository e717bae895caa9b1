//! The built-in routing policy: smooth weighted round robin.
//!
//! At each pick every eligible target gains its weight, and the one that has gained most wins and
//! loses the sum of all weights. So targets take turns by their weights, spread as evenly as they
//! can be. Source: nginx, `ngx_http_upstream_get_round_robin_peer`.
//!
//! Guarantee: it picks one of the eligible targets, whatever their weights.

use crate::policy::{Fault, Request, RoutingPolicy, Target, TargetId};

#[derive(Debug, Default)]
pub struct RoundRobin {
    gained: Vec<(TargetId, i64)>,
}

impl RoundRobin {
    /// Picks the target whose turn it is.
    ///
    /// # Panics
    ///
    /// If none is eligible.
    pub fn turn(&mut self, eligible: &[Target]) -> TargetId {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for target in eligible {
            let index = self.index(target.id);
            // A target of no weight gains nothing, and wins where it is alone.
            let weight = i64::from(target.weight);
            self.gained[index].1 += weight;
            total += weight;
            let gained = self.gained[index].1;
            if best.is_none_or(|(_, most)| gained > most) {
                best = Some((index, gained));
            }
        }
        let (index, _) = best.expect("somebody is eligible");
        self.gained[index].1 -= total;
        self.gained[index].0
    }

    fn index(&mut self, id: TargetId) -> usize {
        let known = self.gained.iter().position(|(known, _)| *known == id);
        known.unwrap_or_else(|| {
            self.gained.push((id, 0));
            self.gained.len() - 1
        })
    }
}

impl RoutingPolicy for RoundRobin {
    fn pick(&mut self, _: &Request<'_>, eligible: &[Target]) -> Result<TargetId, Fault> {
        Ok(self.turn(eligible))
    }

    fn observe(&mut self, _: TargetId, _: u32, _: bool) -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(weights: &[u32], count: usize) -> String {
        let target = |(id, weight): (u32, &u32)| Target::new(TargetId(id), "", *weight);
        let targets: Vec<Target> = (0..).zip(weights).map(target).collect();
        let mut policy = RoundRobin::default();
        let turn = |_| char::from(b'a' + u8::try_from(policy.turn(&targets).0).expect("few"));
        (0..count).map(turn).collect()
    }

    /// nginx's own vectors.
    #[test]
    fn targets_take_turns_by_their_weights() {
        assert_eq!(picks(&[5, 1, 1], 14), "aabacaaaabacaa");
        assert_eq!(picks(&[1, 2, 3], 6), "cbacbc");
        assert_eq!(picks(&[1, 1, 1], 6), "abcabc");
    }

    #[test]
    fn targets_of_no_weight_are_picked_where_there_is_no_other() {
        assert_eq!(picks(&[0], 2), "aa");
        assert_eq!(picks(&[0, 1], 3), "bbb");
    }

    #[test]
    fn a_target_that_was_away_does_not_catch_up() {
        let targets: Vec<Target> = (0..3).map(|id| Target::new(TargetId(id), "", 1)).collect();
        let mut policy = RoundRobin::default();
        for _ in 0..30 {
            assert_ne!(policy.turn(&targets[..2]), TargetId(2));
        }
        let back = (0..30).filter(|_| policy.turn(&targets) == TargetId(2));
        assert_eq!(back.count(), 10);
    }
}
