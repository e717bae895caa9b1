//! The work of slots over lanes, second by second. A lane does a second's work in a second; what is
//! more waits, and what comes behind it waits as well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::figures::weighted_quantile;
use super::load::Second;
use crate::balance::placement::{Lanes, Placer};
use crate::balance::slots::{Load, Table};
use crate::policy::{PlacementPolicy, Source};

/// What came of the slots' work.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Result {
    /// The busiest lane's work beside the mean of all, in each second.
    pub spread_by_second: Vec<f64>,
    /// The mean of these over the second half, when the policy has come to know the load.
    pub settled_spread: f64,
    /// Slots that were moved, in all.
    pub moves: usize,
    /// How long work waits behind other work of its lane, at most in 99 of 100 cases.
    pub p99_wait_ms: f64,
}

/// Replays the seconds over so many lanes. Without a policy the built-in table stays.
pub fn run(
    seconds: &[Second],
    lanes: usize,
    move_budget: u32,
    policy: Option<Arc<dyn Source<dyn PlacementPolicy>>>,
) -> Result {
    let load = Arc::new(Load::default());
    let start = Instant::now();
    let mut placing = policy.map(|policy| {
        let lanes = Lanes {
            projection: "simulation".into(),
            count: lanes,
            move_budget,
        };
        Placer::new(lanes, policy, load.clone(), start)
    });
    let mut table = Arc::new(Table::hash(lanes));
    let mut backlog_us = vec![0.0; lanes];
    let (mut moves, mut waits, mut spread_by_second) = (0, Vec::new(), Vec::new());
    for (number, second) in (1..).zip(seconds) {
        let work_us = work(&table, second);
        for (lane, work_us) in work_us.iter().enumerate() {
            // Half of the second's work is there when that in the middle of it comes.
            let waits_us: f64 = backlog_us[lane] + (*work_us as f64 / 2.0 - 5e5).max(0.0);
            waits.push((waits_us / 1e3, *work_us));
            backlog_us[lane] = (backlog_us[lane] + *work_us as f64 - 1e6).max(0.0);
        }
        spread_by_second.push(spread(&work_us));
        let Some((placer, tables)) = &mut placing else {
            continue;
        };
        for (slot, us) in second.iter().enumerate() {
            load.add(slot, u64::from(*us) * 1_000);
        }
        placer.look(start + Duration::from_secs(number));
        let next = tables.borrow().clone();
        let both = table.owners().zip(next.owners());
        moves += both.filter(|(before, after)| before != after).count();
        table = next;
    }
    let settled = &spread_by_second[spread_by_second.len() / 2..];
    Result {
        settled_spread: settled.iter().sum::<f64>() / settled.len().max(1) as f64,
        spread_by_second,
        moves,
        p99_wait_ms: weighted_quantile(&mut waits, 0.99),
    }
}

/// Microseconds of each lane.
fn work(table: &Table, second: &Second) -> Vec<u64> {
    let mut lanes = vec![0; table.lanes()];
    for (lane, us) in table.owners().zip(second) {
        lanes[lane] += u64::from(*us);
    }
    lanes
}

/// 1 where all lanes have as much to do, or nothing.
fn spread(work_us: &[u64]) -> f64 {
    let sum: u64 = work_us.iter().sum();
    let most = work_us.iter().max().copied().unwrap_or(0);
    if sum == 0 {
        return 1.0;
    }
    most as f64 * work_us.len() as f64 / sum as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::slots::SLOTS;
    use crate::policy::{Fault, Snapshot, TargetId};

    /// Gives the last lane all slots.
    struct Last;

    impl PlacementPolicy for Last {
        fn place(&mut self, snapshot: &Snapshot<'_>) -> std::result::Result<Vec<TargetId>, Fault> {
            let last = snapshot.targets.last().map(|target| target.id);
            Ok(vec![
                last.expect("there are lanes");
                snapshot.slot_load.len()
            ])
        }
    }

    impl Source<dyn PlacementPolicy> for Last {
        fn name(&self) -> &str {
            "last"
        }

        fn start(&self) -> std::result::Result<Box<dyn PlacementPolicy>, Fault> {
            Ok(Box::new(Last))
        }
    }

    #[test]
    fn the_built_in_table_moves_nothing_and_a_lane_that_has_too_much_to_do_makes_work_wait() {
        let even = vec![vec![1_000; SLOTS]; 10];
        let result = run(&even, 4, 64, None);
        assert_eq!(result.spread_by_second, [1.0; 10]);
        assert_eq!((result.moves, result.p99_wait_ms), (0, 0.0));

        let mut hot = vec![0; SLOTS];
        hot[3] = 1_500_000;
        let result = run(&vec![hot; 10], 4, 64, None);
        assert_eq!(result.settled_spread, 4.0);
        // Half a second more each second, and the middle of the last.
        assert_eq!(result.p99_wait_ms, 4_500.0 + 250.0);
    }

    #[test]
    fn moves_are_counted_and_kept_to_the_budget() {
        let even = vec![vec![100; SLOTS]; 5];
        let result = run(&even, 2, 100, Some(Arc::new(Last)));
        assert_eq!(result.moves, 500);
        assert!(result.spread_by_second.is_sorted());
        assert!(result.settled_spread > 1.3, "{result:?}");
    }
}
