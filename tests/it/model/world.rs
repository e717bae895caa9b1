//! Two hosts, their group, the network and a store: one schedule of everything that may happen.

use projectionist::parked::{self, Action, Request};
use projectionist::record::{NextOffset, Offset};
use projectionist::store::Table;

use super::audit;
use super::commit::After;
use super::dice::Dice;
use super::mutant::Mutant;
use super::owner::CHECKPOINT;
use super::store::{Outcome, Part, Store};
use super::topic::Topic;
use super::worker::{ClaimStep, Stage, Worker};

pub(crate) struct World<'a> {
    pub(super) topic: &'a Topic,
    mutant: Option<Mutant>,
    pub(super) store: Store,
    workers: [Worker; 2],
    /// To whom the group gave the partition.
    assignee: Option<usize>,
    network: Vec<Message>,
    dice: Dice<'a>,
    /// How far the partition reaches so far.
    end: NextOffset,
    /// Where a consumer told Kafka that it was.
    kafka: NextOffset,
    /// Who claimed last: worker and generation.
    claimer: (usize, u64),
    /// Keys that are to be drained.
    pub(super) asked: Vec<Offset>,
    pub(super) tally: Tally,
    trace: Option<Vec<String>>,
}

/// A commit on its way.
#[derive(Clone, Debug)]
struct Message {
    worker: usize,
    generation: u64,
    parts: Vec<Part>,
    /// How many parts are stored.
    done: usize,
    /// The answer, on its way back.
    answer: Option<Outcome>,
    /// Nobody waits for the answer.
    orphan: bool,
}

/// How often what happened. Schedules in which little goes wrong prove little.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) stored: u64,
    pub(crate) fenced: u64,
    pub(crate) too_large: u64,
    pub(crate) rejected: u64,
    pub(crate) lost_answers: u64,
    pub(crate) claims: u64,
    pub(crate) crashes: u64,
    pub(crate) repaired: u64,
    pub(crate) duplicates: u64,
}

impl std::ops::Add for Tally {
    type Output = Tally;

    fn add(self, more: Tally) -> Tally {
        Tally {
            stored: self.stored + more.stored,
            fenced: self.fenced + more.fenced,
            too_large: self.too_large + more.too_large,
            rejected: self.rejected + more.rejected,
            lost_answers: self.lost_answers + more.lost_answers,
            claims: self.claims + more.claims,
            crashes: self.crashes + more.crashes,
            repaired: self.repaired + more.repaired,
            duplicates: self.duplicates + more.duplicates,
        }
    }
}

/// No schedule needs as many steps once nothing goes wrong any more.
const CALM_STEPS: usize = 500;

impl Tally {
    /// Asserts that enough went wrong.
    pub(crate) fn assert_many(self) {
        let Tally {
            stored,
            fenced,
            too_large,
            rejected,
            lost_answers,
            claims,
            crashes,
            repaired,
            duplicates,
        } = self;
        let rare = [fenced, too_large, rejected, repaired, crashes, lost_answers];
        let many = rare.iter().all(|count| *count > 10_000);
        assert!(
            many && stored.min(claims).min(duplicates) > 100_000,
            "{self:?}"
        );
    }
}

impl<'a> World<'a> {
    pub(crate) fn new(topic: &'a Topic, decisions: &'a [u16], mutant: Option<Mutant>) -> Self {
        World {
            topic,
            mutant,
            store: Store::new(mutant),
            workers: Default::default(),
            assignee: None,
            network: Vec::new(),
            dice: Dice::new(decisions),
            end: NextOffset(topic.end.0 / 2),
            kafka: NextOffset::ZERO,
            claimer: (0, 0),
            asked: Vec::new(),
            tally: Tally::default(),
            trace: None,
        }
    }

    /// Notes what happens, for people.
    pub(crate) fn traced(mut self) -> Self {
        self.trace = Some(Vec::new());
        self
    }

    pub(crate) fn trace(&self) -> String {
        self.trace.as_ref().map_or(String::new(), |t| t.join("\n"))
    }

    /// Lets everything happen that the decisions say, then nothing bad any more, until all is
    /// folded and drained.
    ///
    /// # Errors
    /// With what is wrong.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        while !self.dice.is_empty() {
            self.step()?;
        }
        self.calm_down()?;
        audit::at_the_end(self)
    }

    fn note(&mut self, note: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let note = note(self);
            self.trace
                .iter_mut()
                .for_each(|trace| trace.push(note.clone()));
        }
    }

    fn step(&mut self) -> Result<(), String> {
        // One decision for both: who, and what.
        let decision = self.dice.pick(2 * 96);
        let worker = decision % 2;
        match decision / 2 {
            0..56 => self.work(worker),
            56..78 => self.transmit(),
            other => {
                match other {
                    78..82 => self.produce(),
                    82 => self.revoke(),
                    83 | 84 => self.lose(),
                    85 => self.rejoin(),
                    86 => self.crash(worker),
                    87 => self.tell_lost(worker),
                    88..92 => self.assign(worker),
                    _ => self.ask(),
                }
                Ok(())
            }
        }
    }

    fn produce(&mut self) {
        let more = i64::try_from(1 + self.dice.pick(8)).expect("it is small");
        self.end = NextOffset(self.end.0 + more).min(self.topic.end);
    }

    fn assign(&mut self, worker: usize) {
        if self.assignee.is_some() {
            return;
        }
        self.assignee = Some(worker);
        self.workers[worker].assign(self.mutant);
        self.note(|_| format!("the group gives the partition to {worker}"));
    }

    /// The group takes the partition away in good order.
    fn revoke(&mut self) {
        let Some(worker) = self.assignee else {
            return;
        };
        self.note(|_| format!("the group revokes the partition of {worker}"));
        if let Some(owner) = self.workers[worker].owner_mut()
            && !owner.leaving
        {
            owner.leaving = true;
        } else {
            // A claim is given up, and a drain has its deadline.
            self.workers[worker].abandon();
            self.assignee = None;
        }
    }

    /// The group takes the partition away, and the host does not know yet.
    fn lose(&mut self) {
        self.note(|world| format!("the group forgets {:?}", world.assignee));
        self.assignee = None;
    }

    /// The group takes the partition away and gives it to the same host again.
    fn rejoin(&mut self) {
        if let Some(worker) = self.assignee.take() {
            self.assign(worker);
        }
    }

    /// A host learns that it has lost the partition.
    fn tell_lost(&mut self, worker: usize) {
        if self.assignee != Some(worker) {
            self.workers[worker].abandon();
            self.note(|_| format!("{worker} learns that it has lost the partition"));
        }
    }

    fn crash(&mut self, worker: usize) {
        self.tally.crashes += 1;
        self.workers[worker].crash();
        if self.assignee == Some(worker) {
            self.assignee = None;
        }
        let of_worker = |message: &Message| message.worker == worker;
        self.network
            .retain(|message| !of_worker(message) || message.answer.is_none());
        for message in self.network.iter_mut().filter(|m| of_worker(m)) {
            message.orphan = true;
        }
        self.note(|_| format!("{worker} crashes"));
    }

    /// Users ask for something to be done about every parked key.
    fn ask(&mut self) {
        let prefix = parked::keys_prefix(&CHECKPOINT);
        let keys: Vec<Offset> = self
            .store
            .entries(Table::ParkedKeys, &prefix)
            .filter_map(|entry| parked::first_of(&entry.id))
            .collect();
        for first in keys {
            let id = parked::key_id(&CHECKPOINT, first);
            if self.store.entry(Table::ParkedRequests, &id).is_none() {
                self.ask_about(first);
            }
        }
    }

    fn ask_about(&mut self, first: Offset) {
        let action = if self.dice.pick(4) == 3 {
            Action::Skip {
                offset: first.0,
                reason: "a test".to_owned(),
            }
        } else {
            self.asked.push(first);
            Action::Drain { plugin: None }
        };
        self.note(|_| format!("a user asks: {action:?} of {first}"));
        let request = Request {
            action,
            by: "a user".to_owned(),
            at_ms: 0,
        };
        self.store.put_entry(request.to_entry(&CHECKPOINT, first));
    }

    /// Lets a worker do one thing, if it has anything to do.
    fn work(&mut self, worker: usize) -> Result<(), String> {
        let idle = matches!(self.workers[worker].stage, Stage::Idle);
        let index = if idle { 1 - worker } else { worker };
        let first = self.dice.pick(5);
        for choice in 0..5 {
            if self.work_at((first + choice) % 5, index)? {
                break;
            }
        }
        Ok(())
    }

    fn work_at(&mut self, choice: usize, index: usize) -> Result<bool, String> {
        let worker = &mut self.workers[index];
        if matches!(worker.stage, Stage::Claiming(_)) {
            let step = worker.claim_step(&mut self.store, self.mutant, self.kafka, &mut self.dice);
            self.note(|_| format!("{index} claims: {step:?}"));
            if step == Some(ClaimStep::Claim) {
                self.tally.claims += 1;
                self.claimer = (index, self.workers[index].generation);
                return audit::at_any_time(self).map(|()| true);
            }
            return Ok(true);
        }
        let Some(owner) = worker.owner_mut() else {
            return Ok(false);
        };
        if owner.leaving && owner.is_idle() {
            self.let_go(index);
            self.note(|_| format!("{index} has drained the partition"));
            return Ok(true);
        }
        let (done, what) = match choice {
            0 => (owner.fold(self.topic, &self.store, &mut self.dice), "folds"),
            1 => (self.submit(index), "submits"),
            2 => (self.workers[index].receive(self.mutant), "receives"),
            3 => (self.fetch(index), "fetches"),
            _ => (self.repair(index), "repairs"),
        };
        if done {
            self.note(|_| format!("{index} {what}"));
        }
        Ok(done)
    }

    fn repair(&mut self, index: usize) -> bool {
        let worker = &mut self.workers[index];
        let Some(owner) = worker.owner_mut() else {
            return false;
        };
        match owner.repair(&mut self.store, &mut self.dice) {
            Ok(None) => return false,
            Ok(Some(After::GoesOn)) => {}
            Ok(Some(After::LetsGo)) => self.claim_again(index),
            Err(reason) => worker.stage = Stage::Stopped(reason),
        }
        true
    }

    /// Another host has claimed the partition. Until it is told otherwise, it is this one's.
    fn claim_again(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        if worker.owner_mut().is_some_and(|owner| owner.leaving) {
            self.let_go(index);
        } else {
            worker.assign(self.mutant);
        }
    }

    fn let_go(&mut self, index: usize) {
        self.workers[index].abandon();
        self.assignee = self.assignee.filter(|assignee| *assignee != index);
    }

    fn fetch(&mut self, index: usize) -> bool {
        let limit = 4 - self.dice.pick(4);
        let worker = &mut self.workers[index];
        let any = worker.fetch(self.topic, self.end, limit);
        if let Some(owner) = worker.owner_mut() {
            self.kafka = owner.position;
        }
        any
    }

    fn submit(&mut self, index: usize) -> bool {
        let worker = &mut self.workers[index];
        let Some(parts) = worker.owner_mut().and_then(|owner| owner.submit()) else {
            return false;
        };
        self.network.push(Message {
            worker: index,
            generation: worker.generation,
            parts,
            done: 0,
            answer: None,
            orphan: false,
        });
        true
    }

    /// Something happens to one of the messages.
    fn transmit(&mut self) -> Result<(), String> {
        if self.network.is_empty() {
            return Ok(());
        }
        let decision = self.dice.pick(12 * self.network.len());
        let (index, fate) = (decision / 12, decision % 12);
        let message = &self.network[index];
        let answered = message.answer.is_some();
        match (answered, fate) {
            (false, 0..7) => self.arrive(index),
            (true, 0..9) => self.answer(index),
            // The request is lost, or its answer.
            (false, 7) | (true, _) => self.unanswered(index),
            // The host waits no more and sends it again; it may arrive in the end.
            (false, 8 | 9) if self.network.len() < 6 => {
                let late = Message {
                    orphan: true,
                    ..message.clone()
                };
                self.network.push(late);
                self.unanswered(index)
            }
            (false, 10) if self.is_divisible(index) => {
                self.network[index].answer = Some(Outcome::TooLarge);
                self.tally.too_large += 1;
                Ok(())
            }
            (false, _) => self.arrive(index),
        }
    }

    /// True where a commit may be too large and a smaller one not.
    fn is_divisible(&mut self, index: usize) -> bool {
        let message = &self.network[index];
        let worker = &mut self.workers[message.worker];
        let waits = !message.orphan && worker.generation == message.generation;
        let owner = worker.owner_mut().filter(|_| waits && message.done == 0);
        owner.is_some_and(|owner| owner.partition.in_flight_events() > 1)
    }

    /// The store gets the next part of a commit.
    fn arrive(&mut self, index: usize) -> Result<(), String> {
        let message = &mut self.network[index];
        let before = self.store.checkpoint;
        let outcome = self.store.store(&message.parts[message.done]);
        message.done += 1;
        let (from, now) = ((message.worker, message.generation), self.store.checkpoint);
        let whole = message.done == message.parts.len();
        if outcome != Outcome::Stored || whole {
            message.answer = Some(outcome.clone());
        }
        self.tally.stored += u64::from(outcome == Outcome::Stored);
        self.tally.fenced += u64::from(outcome == Outcome::Fenced);
        self.tally.rejected += u64::from(matches!(outcome, Outcome::Rejected(_)));
        self.note(|_| format!("the store gets a commit of {from:?}: {outcome:?}, {now:?}"));
        if now != before && from != self.claimer {
            return Err(format!(
                "{from:?} has stored after {:?} claimed",
                self.claimer
            ));
        }
        if now.next < before.next || now.repairs < before.repairs {
            return Err(format!(
                "the checkpoint went back from {before:?} to {now:?}"
            ));
        }
        if whole {
            audit::at_any_time(self)
        } else {
            Ok(())
        }
    }

    /// A worker learns what became of its commit.
    fn answer(&mut self, index: usize) -> Result<(), String> {
        let message = self.network.swap_remove(index);
        let Some(outcome) = message.answer else {
            return Ok(());
        };
        let worker = &mut self.workers[message.worker];
        let current = worker.generation == message.generation;
        let wanted =
            !message.orphan && (current || self.mutant == Some(Mutant::OldCompletionTaken));
        let Some(owner) = worker.owner_mut().filter(|_| wanted) else {
            return Ok(());
        };
        let after = owner.completed(&outcome)?;
        let stored = owner.partition.stored();
        if stored > self.store.checkpoint.next {
            return Err(format!("{} takes {stored} for stored", message.worker));
        }
        if after == After::LetsGo {
            self.claim_again(message.worker);
        }
        self.note(|_| format!("{} learns: {outcome:?}", message.worker));
        Ok(())
    }

    /// A commit has no answer: whoever still waits for it sends it again.
    fn unanswered(&mut self, index: usize) -> Result<(), String> {
        self.tally.lost_answers += 1;
        let message = &mut self.network[index];
        let worker = &self.workers[message.worker];
        if message.orphan || worker.generation != message.generation {
            self.network.swap_remove(index);
            return Ok(());
        }
        message.done = 0;
        message.answer = None;
        if self.mutant == Some(Mutant::UnknownTakenForStored) {
            message.answer = Some(Outcome::Stored);
            return self.answer(index);
        }
        Ok(())
    }

    /// Nothing goes wrong any more: all is to be folded, and what is parked to be drained.
    fn calm_down(&mut self) -> Result<(), String> {
        self.end = self.topic.end;
        (0..2).for_each(|worker| self.tell_lost(worker));
        self.assign(0);
        let owner = self
            .assignee
            .expect("it was just assigned, where it was not");
        self.note(|_| format!("calm, and the partition is that of {owner}"));
        for _ in 0..CALM_STEPS {
            if self.assignee.is_none() {
                self.assign(owner);
            }
            if let Stage::Stopped(reason) = &self.workers[owner].stage {
                return Err(format!("{owner} stands still: {reason}"));
            }
            if let Some(message) = self.network.first() {
                match message.answer {
                    None => self.arrive(0)?,
                    Some(_) => self.answer(0)?,
                }
                continue;
            }
            // What is under way under a rule is refused under it: the store ends what a host has
            // given up before it takes anything else of that host.
            self.store.forbids = false;
            let before = self.store.checkpoint;
            self.work(owner)?;
            if self.is_done(owner) {
                return Ok(());
            }
            if self.is_idle(owner) && self.store.checkpoint == before {
                self.ask();
            }
        }
        Err(format!(
            "stuck at {:?} of {}",
            self.store.checkpoint, self.topic.end
        ))
    }

    fn is_idle(&mut self, owner: usize) -> bool {
        let owner = self.workers[owner].owner_mut();
        owner.is_some_and(|owner| owner.is_idle())
    }

    fn is_done(&mut self, owner: usize) -> bool {
        let prefix = parked::keys_prefix(&CHECKPOINT);
        self.is_idle(owner)
            && self.store.checkpoint.next == self.topic.end
            && self
                .store
                .entries(Table::ParkedKeys, &prefix)
                .next()
                .is_none()
    }
}
