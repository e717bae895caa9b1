//! Moves slots between lanes, as a placement policy says.
//!
//! About once a second, if anything was folded, the policy is shown what each slot costs and where
//! it lives, and answers a table. What is wrong with it is found ([`decide`]), at most a budget of
//! slots is moved, and the lanes read the new table between two batches.
//!
//! Guarantees, whatever the policy answers:
//! - A table gives every slot to one lane that there is. Where the policy fails, the last table
//!   stays, and the policy is tried again after a back-off.
//! - An answer moves no more slots than the budget, those with the most work first.
//!
//! Not here: what a key's slot is (`slots`), who folds it (`pipeline`).

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::seat::Seat;
use super::slots::{Load, Table, TableError};
use crate::policy::{Fault, PlacementPolicy, Snapshot, Source, Target, TargetId};

/// How often the policy is asked.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Slots that one answer may move, where nothing else is said: few enough that one bad answer
/// changes little.
pub const MOVE_BUDGET: u32 = 64;

/// What there is to be placed.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// The projection, for metrics and the log.
    pub projection: Arc<str>,
    /// How many there are.
    pub count: usize,
    /// Most slots that one answer may move.
    pub move_budget: u32,
}

/// Owns the table of a projection's slots.
pub struct Placer {
    lanes: Lanes,
    seat: Arc<Mutex<Seat<dyn PlacementPolicy>>>,
    load: Arc<Load>,
    table: watch::Sender<Arc<Table>>,
    /// When the load was looked at last, and what it was in all.
    last: (Instant, Vec<u64>),
    moves: Counter,
    /// Of each lane.
    lane_load: Vec<Gauge>,
}

/// Has a placer that runs ask another policy.
#[derive(Clone)]
pub struct Switch {
    seat: Arc<Mutex<Seat<dyn PlacementPolicy>>>,
}

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub table: Table,
    /// Slots that live elsewhere from now on.
    pub moves: usize,
}

impl Placer {
    /// The lanes read the table from what comes with the placer, and add what they do to `load`.
    /// It starts as [`Table::hash`].
    pub fn new(
        lanes: Lanes,
        policy: Arc<dyn Source<dyn PlacementPolicy>>,
        load: Arc<Load>,
        now: Instant,
    ) -> (Self, watch::Receiver<Arc<Table>>) {
        let (table, tables) = watch::channel(Arc::new(Table::hash(lanes.count)));
        let projection = lanes.projection.to_string();
        let gauge = |lane: usize| {
            metrics::gauge!(
                "projectionist_lane_load_ratio",
                "projection" => projection.clone(), "lane" => lane.to_string()
            )
        };
        let placer = Placer {
            seat: Arc::new(Mutex::new(Seat::new(&lanes.projection, Some(policy)))),
            last: (now, load.totals()),
            moves: metrics::counter!(
                "projectionist_slot_moves_total", "projection" => projection.clone()
            ),
            lane_load: (0..lanes.count).map(gauge).collect(),
            lanes,
            load,
            table,
        };
        (placer, tables)
    }

    pub fn switch(&self) -> Switch {
        Switch {
            seat: self.seat.clone(),
        }
    }

    /// Places until it is stopped, or nobody reads the table any more.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Both may be dropped at any time: nothing is lost with them.
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if self.table.is_closed() {
                return;
            }
            // A policy may compute for as long as it is allowed to: not on the runtime's threads.
            let looking = tokio::task::spawn_blocking(move || {
                self.look(Instant::now());
                self
            });
            self = match looking.await {
                Ok(placer) => placer,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime shuts down.
                    Err(_) => return,
                },
            };
        }
    }

    /// Looks at the load since the last time, and moves what the policy says. An instance that
    /// runs to its time limit keeps the caller for as long.
    pub fn look(&mut self, now: Instant) {
        let totals = self.load.totals();
        let (since, before) = std::mem::replace(&mut self.last, (now, totals));
        let elapsed = now.saturating_duration_since(since);
        let slot_load = rates(&before, &self.last.1, elapsed);
        let present = self.table.borrow().clone();
        let targets = lane_targets(&present, &slot_load);
        for (gauge, target) in self.lane_load.iter().zip(&targets) {
            gauge.set(f64::from(target.cpu_permille) / 1e3);
        }
        if slot_load.iter().all(|&load| load == 0) {
            return;
        }
        let mut seat = seat(&self.seat);
        if let Some(source) = seat.offer(now) {
            seat.take(&source, source.start(), now);
        }
        let Some(policy) = seat.working() else {
            return;
        };
        let owners: Vec<TargetId> = present.owners().map(id).collect();
        let snapshot = Snapshot {
            targets: &targets,
            owners: &owners,
            slot_load: &slot_load,
            move_budget: self.lanes.move_budget,
        };
        let answer = policy.place(&snapshot);
        let decision = answer.and_then(|answer| {
            let budget = usize::try_from(self.lanes.move_budget).unwrap_or(usize::MAX);
            decide(&present, &answer, &slot_load, budget).map_err(Fault::nonsense)
        });
        match decision {
            Ok(Decision { moves: 0, .. }) => {}
            Ok(Decision { table, moves }) => {
                self.moves.increment(moves as u64);
                self.table.send_replace(Arc::new(table));
            }
            Err(fault) => seat.failed(&fault, now),
        }
    }
}

impl Switch {
    /// The next table is another policy's; the present one stays until then. Where the new policy
    /// does not start, the one before goes on. Waits for an answer that is being made.
    ///
    /// # Errors
    ///
    /// The new policy's fault.
    pub fn change_policy(
        &self,
        source: Arc<dyn Source<dyn PlacementPolicy>>,
        now: Instant,
    ) -> Result<(), Fault> {
        let policy = source.start()?;
        seat(&self.seat).change(source, policy, now);
        Ok(())
    }
}

fn seat(shared: &Mutex<Seat<dyn PlacementPolicy>>) -> MutexGuard<'_, Seat<dyn PlacementPolicy>> {
    shared.lock().expect("nothing panics under this lock")
}

/// Holds an answer against the slots and lanes that there are, and moves as much of it as the
/// budget allows, the slots with the most work first.
///
/// # Errors
///
/// What is wrong with the answer; then nothing is moved.
pub fn decide(
    present: &Table,
    answer: &[TargetId],
    slot_load: &[u32],
    budget: usize,
) -> Result<Decision, TableError> {
    let lane = |id: &TargetId| usize::try_from(id.0).unwrap_or(usize::MAX);
    let answer: Vec<usize> = answer.iter().map(lane).collect();
    let wanted = Table::checked(&answer, present.lanes())?;
    let slots = present.owners().zip(wanted.owners()).enumerate();
    let moved = slots.filter(|(_, (now, then))| now != then);
    let mut moved: Vec<usize> = moved.map(|(slot, _)| slot).collect();
    moved.sort_by_key(|&slot| std::cmp::Reverse(slot_load[slot]));
    moved.truncate(budget);
    let mut owners: Vec<usize> = present.owners().collect();
    for &slot in &moved {
        owners[slot] = wanted.lane(slot);
    }
    Ok(Decision {
        table: Table::checked(&owners, present.lanes())?,
        moves: moved.len(),
    })
}

/// A lane's id is its number: lanes stay the same for the life of a placer.
fn id(lane: usize) -> TargetId {
    TargetId(u32::try_from(lane).expect("lanes are few"))
}

/// Microseconds of work a second of each slot, of totals in nanoseconds.
fn rates(before: &[u64], after: &[u64], elapsed: Duration) -> Vec<u32> {
    let elapsed_us = elapsed.as_micros().max(1);
    let rate = |(before, after): (&u64, &u64)| {
        let nanos = u128::from(after.saturating_sub(*before));
        // Nanoseconds in a microsecond are a thousandth of a second's microseconds.
        let rate = (nanos * 1_000).div_ceil(elapsed_us);
        u32::try_from(rate).unwrap_or(u32::MAX)
    };
    before.iter().zip(after).map(rate).collect()
}

/// The lanes as a policy sees them: how busy each was. What only copies have is 0.
fn lane_targets(table: &Table, slot_load: &[u32]) -> Vec<Target> {
    let mut busy_us = vec![0_u64; table.lanes()];
    for (lane, &load) in table.owners().zip(slot_load) {
        busy_us[lane] += u64::from(load);
    }
    let target = |(lane, &busy_us): (usize, &u64)| Target {
        cpu_permille: u32::try_from((busy_us / 1_000).min(1_000)).expect("a thousand at most"),
        ..Target::new(id(lane), &format!("lane-{lane}"), 1)
    };
    busy_us.iter().enumerate().map(target).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;
    use crate::balance::slots::SLOTS;
    use crate::policy::FaultKind;

    /// Answers each call as it is told.
    struct Told(Arc<Mutex<Result<Vec<TargetId>, Fault>>>);

    impl PlacementPolicy for Told {
        fn place(&mut self, snapshot: &Snapshot<'_>) -> Result<Vec<TargetId>, Fault> {
            assert_eq!(snapshot.owners.len(), SLOTS);
            self.0.lock().expect("no panic").clone()
        }
    }

    impl Source<dyn PlacementPolicy> for Told {
        fn name(&self) -> &str {
            "told"
        }

        fn start(&self) -> Result<Box<dyn PlacementPolicy>, Fault> {
            Ok(Box::new(Told(self.0.clone())))
        }
    }

    fn lanes(projection: &str) -> Lanes {
        Lanes {
            projection: projection.into(),
            count: 4,
            move_budget: 10,
        }
    }

    #[test]
    fn the_last_table_stays_where_the_policy_fails_and_it_is_tried_again() {
        let answer = Arc::new(Mutex::new(Ok(vec![TargetId(2); SLOTS])));
        let load = Arc::new(Load::default());
        let start = Instant::now();
        let told = Arc::new(Told(answer.clone()));
        let (mut placer, tables) = Placer::new(lanes("a"), told, load.clone(), start);
        let look = |placer: &mut Placer, seconds: u64| {
            load.add(7, 1_000_000);
            placer.look(start + Duration::from_secs(seconds));
            let owners = tables.borrow().owners().filter(|&lane| lane == 2).count();
            owners - SLOTS / 4
        };
        let say = |said| *answer.lock().expect("no panic") = said;

        assert_eq!(look(&mut placer, 1), 10);
        let refused = Fault {
            kind: FaultKind::Refused,
            detail: "no".to_owned(),
        };
        say(Err(refused));
        assert_eq!(look(&mut placer, 2), 10);
        say(Ok(vec![TargetId(2); SLOTS]));
        assert_eq!(look(&mut placer, 2), 10, "it is not asked yet");
        assert_eq!(look(&mut placer, 3), 20);
        say(Ok(vec![TargetId(4); SLOTS]));
        assert_eq!(look(&mut placer, 4), 20, "there is no lane 4");
        say(Ok(vec![TargetId(2); SLOTS]));
        assert_eq!(look(&mut placer, 5), 20, "a second fault lasts longer");
        assert_eq!(look(&mut placer, 6), 30);
    }

    #[test]
    fn another_policy_takes_over_where_the_table_is() {
        let say = |lane| Arc::new(Told(Arc::new(Mutex::new(Ok(vec![TargetId(lane); SLOTS])))));
        let load = Arc::new(Load::default());
        let start = Instant::now();
        let (mut placer, tables) = Placer::new(lanes("d"), say(2), load.clone(), start);
        let owned = |by: usize| tables.borrow().owners().filter(|&lane| lane == by).count();
        let look = |placer: &mut Placer, seconds: u64| {
            load.add(7, 1_000_000);
            placer.look(start + Duration::from_secs(seconds));
        };
        look(&mut placer, 1);
        assert_eq!(owned(2), SLOTS / 4 + 10);
        let before = owned(3);
        let switched = placer.switch().change_policy(say(3), start);
        assert_eq!((switched, owned(3)), (Ok(()), before));
        look(&mut placer, 2);
        assert_eq!(owned(3), before + 10);
    }

    #[test]
    fn nobody_is_asked_where_nothing_was_folded() {
        let answer = Arc::new(Mutex::new(Ok(vec![TargetId(2); SLOTS])));
        let load = Arc::new(Load::default());
        let start = Instant::now();
        let (mut placer, tables) =
            Placer::new(lanes("b"), Arc::new(Told(answer)), load.clone(), start);
        placer.look(start + INTERVAL);
        assert_eq!(**tables.borrow(), Table::hash(4));
        load.add(0, 1);
        placer.look(start + 2 * INTERVAL);
        assert_ne!(**tables.borrow(), Table::hash(4));
    }

    #[tokio::test]
    async fn a_placer_moves_slots_while_it_runs_and_ends_when_it_is_stopped() {
        let answer = Arc::new(Mutex::new(Ok(vec![TargetId(3); SLOTS])));
        let load = Arc::new(Load::default());
        let told = Arc::new(Told(answer));
        let (placer, mut tables) = Placer::new(lanes("c"), told, load.clone(), Instant::now());
        let stop = CancellationToken::new();
        load.add(1, 1_000);
        let running = tokio::spawn(placer.run(stop.clone()));
        tables.changed().await.expect("the placer runs");
        let moved = tables.borrow().owners().filter(|&lane| lane == 3).count();
        assert_eq!(moved, SLOTS / 4 + 10);
        stop.cancel();
        running.await.expect("it ends without a panic");
    }

    #[test]
    fn load_is_told_in_microseconds_a_second() {
        let rates = rates(&[0, 500, 7], &[2_000_000, 500, 8], Duration::from_secs(2));
        assert_eq!(rates, [1_000, 0, 1]);
    }

    proptest! {
        #[test]
        fn an_answer_moves_the_busiest_slots_within_the_budget_or_nothing(
            answer in prop::collection::vec(0_u32..5, SLOTS - 1..SLOTS + 1),
            loads in prop::collection::vec(0_u32..9, SLOTS),
            budget in 0_usize..SLOTS,
        ) {
            let present = Table::hash(5);
            let answer: Vec<TargetId> = answer.into_iter().map(TargetId).collect();
            match decide(&present, &answer, &loads, budget) {
                Err(_) => prop_assert_ne!(answer.len(), SLOTS),
                Ok(Decision { table, moves }) => {
                    prop_assert!(moves <= budget);
                    let mut left = HashMap::new();
                    let mut taken = 0;
                    for slot in 0..SLOTS {
                        let wanted = answer[slot].0 as usize;
                        let lane = table.lane(slot);
                        prop_assert!(lane == wanted || lane == present.lane(slot));
                        if lane != present.lane(slot) {
                            taken += 1;
                            left.entry("least moved").and_modify(|l: &mut u32| *l = (*l).min(loads[slot])).or_insert(loads[slot]);
                        } else if lane != wanted {
                            left.entry("most left").and_modify(|l: &mut u32| *l = (*l).max(loads[slot])).or_insert(loads[slot]);
                        }
                    }
                    prop_assert_eq!(taken, moves);
                    if let (Some(moved), Some(stays)) = (left.get("least moved"), left.get("most left")) {
                        prop_assert!(moved >= stays);
                        prop_assert_eq!(moves, budget);
                    }
                }
            }
        }
    }
}
