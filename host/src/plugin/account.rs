//! The memory that plugins can cause, all of a process together.
//!
//! Charged before it is had: linear memories and tables of instances, the batch that a call is
//! given, what it hands over, the documents that it reads, its answer until that is stored.
//!
//! Guarantees:
//! - What is charged never comes to more than the budget.
//! - Whoever finds no room ends no instance but idle ones, and is never blamed for it: its call is
//!   given up, which gives back all that it had, and made again when there is room ([`Turn`]).
//! - Nobody starves: those that wait are served in their order. What the first of them wants is
//!   kept free for it, so that nobody is granted it in between; and each time that it did not do,
//!   it wants more, up to all that its limits let it have.
//! - The greedy do not hold up the modest: while somebody waits, calls that want little go on
//!   within an eighth of the budget, which those that wait leave to them.
//!
//! Not here: what one call may have (`limits`), and who asks (`limits::Limiter`, `instance`).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use bytesize::ByteSize;

/// Where nothing is configured.
pub const MEMORY_BUDGET: usize = 512 << 20;

/// Whoever has been refused wants so many times what it had, so that it is refused a few times
/// at most.
const GROWTH: usize = 2;

/// The least that somebody who waits asks for.
const WANTED_MIN: usize = 8 << 20;

/// How long a place is kept for one that does not wait: whoever tries again comes back sooner, and
/// for whoever does not nothing should be kept.
const ABSENCE_MAX: Duration = Duration::from_secs(10);

/// The part of the budget that is for calls that want little.
const MODEST_PART: usize = 8;

/// What is little: an instance in Rust, and a call of a few hundred events.
const LITTLE: usize = 24 << 20;

/// The least budget in which one call can have so much.
pub fn budget_for(call_max: usize) -> usize {
    call_max.saturating_add(call_max / (MODEST_PART - 1) + 1)
}

#[derive(Debug)]
pub(super) struct Account {
    bytes_max: usize,
    state: Mutex<State>,
    /// Something was given back, or somebody has left the queue.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// Of it, what was granted to those that had waited.
    lumps: usize,
    /// Of the last that began to wait.
    number: u64,
    /// Ascending by their numbers.
    queue: VecDeque<Waiting>,
    seats: Vec<Weak<dyn Idle>>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    wanted: usize,
    /// Then its place is lost, if nobody waits in it.
    until: Instant,
}

/// What can be ended where room is needed, for it does nothing now.
pub(super) trait Idle: std::fmt::Debug + Send + Sync {
    /// When it has done something last; `None` where there is nothing to end.
    fn since(&self) -> Option<Instant>;

    /// Gives it up. What is returned frees its memory when it is dropped.
    fn give_up(&self) -> Option<Box<dyn Send>>;
}

/// What was ended to make room. To be dropped without the account's lock, which its end takes: a
/// seat, too, may be the last that somebody has of it.
struct Ended {
    given_up: Option<Box<dyn Send>>,
    _seats: Vec<Arc<dyn Idle>>,
}

/// Room that somebody has. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    account: Arc<Account>,
    bytes: usize,
    /// Granted to one that had waited.
    lump: bool,
}

/// There is no room now. Says what would have done, with all that the asker had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "plugins have all the memory that they may have together, {} (plugins.memory-budget)",
    ByteSize::b(*.budget as u64)
)]
pub(super) struct Short {
    pub(super) wanted: usize,
    budget: usize,
}

/// A place among those that wait for room, kept until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    account: Arc<Account>,
    number: u64,
    wanted: usize,
}

impl Account {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Account {
            bytes_max,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// A charge of nothing, to grow.
    pub(super) fn charge(self: &Arc<Self>) -> Charge {
        Charge {
            account: Arc::clone(self),
            bytes: 0,
            lump: false,
        }
    }

    /// The most that one call can have.
    pub(super) fn call_max(&self) -> usize {
        self.bytes_max - self.bytes_max / MODEST_PART
    }

    /// Makes known what may be ended when room is needed.
    pub(super) fn register(&self, seat: Weak<dyn Idle>) {
        let mut state = self.lock();
        state.seats.retain(|seat| seat.strong_count() > 0);
        state.seats.push(seat);
    }

    /// Puts one that was refused at the end of the queue. It wants more than it had, and no more
    /// than `most`.
    pub(super) fn queue_up(self: &Arc<Self>, short: Short, most: usize) -> Turn {
        let wanted = wanted(short, most.min(self.call_max()));
        let mut state = self.lock();
        state.number += 1;
        let number = state.number;
        state.enter(number, wanted, Instant::now());
        Turn {
            account: Arc::clone(self),
            number,
            wanted,
        }
    }

    fn take(&self, charge: &Charge, bytes: usize) -> Result<(), Short> {
        loop {
            let idle = {
                let mut state = self.lock();
                if state.grants(charge, bytes, self.bytes_max) {
                    state.used += bytes;
                    state.lumps += if charge.lump { bytes } else { 0 };
                    return Ok(());
                }
                state.idle()
            };
            if idle.given_up.is_none() {
                return Err(Short {
                    wanted: charge.bytes.saturating_add(bytes),
                    budget: self.bytes_max,
                });
            }
        }
    }

    fn give_back(&self, charge: &Charge, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut state = self.lock();
        state.used -= bytes;
        state.lumps -= if charge.lump { bytes } else { 0 };
        if !state.queue.is_empty() {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl State {
    /// Gives up what has been idle for the longest time.
    fn idle(&mut self) -> Ended {
        let seats: Vec<Arc<dyn Idle>> = self.seats.iter().filter_map(Weak::upgrade).collect();
        let idle = seats.iter().filter_map(|seat| Some((seat.since()?, seat)));
        let mut idle: Vec<_> = idle.collect();
        idle.sort_by_key(|(since, _)| *since);
        let given_up = idle.iter().find_map(|(_, seat)| seat.give_up());
        Ended {
            given_up,
            _seats: seats,
        }
    }

    /// Whether a charge may grow by so much.
    fn grants(&mut self, charge: &Charge, bytes: usize, bytes_max: usize) -> bool {
        let used = self.used.saturating_add(bytes);
        let kept = self.first().map_or(0, |first| first.wanted);
        if used.saturating_add(kept) <= bytes_max {
            return true;
        }
        let is_little = charge.bytes.saturating_add(bytes) <= LITTLE;
        is_little && used <= bytes_max && used - self.lumps <= bytes_max / MODEST_PART
    }

    /// Whether one that waits can have what it wants: the first from all that is free, others from
    /// what the first leaves.
    fn admits(&mut self, number: u64, wanted: usize, bytes_max: usize) -> bool {
        let kept = match self.first() {
            Some(first) if first.number != number => first.wanted,
            Some(_) | None => 0,
        };
        self.used.saturating_add(wanted).saturating_add(kept) <= bytes_max
    }

    /// The first of those that are still there.
    fn first(&mut self) -> Option<&Waiting> {
        if !self.queue.is_empty() {
            let now = Instant::now();
            self.queue.retain(|waiting| waiting.until > now);
        }
        self.queue.front()
    }

    /// Takes a place by its number, also one that was lost. It is waited in until then.
    fn enter(&mut self, number: u64, wanted: usize, until: Instant) {
        self.leave(number);
        let later = |waiting: &Waiting| waiting.number > number;
        let place = self.queue.iter().position(later);
        let waiting = Waiting {
            number,
            wanted,
            until: until + ABSENCE_MAX,
        };
        self.queue
            .insert(place.unwrap_or(self.queue.len()), waiting);
    }

    fn leave(&mut self, number: u64) {
        self.queue.retain(|waiting| waiting.number != number);
    }
}

impl Charge {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Adds to it.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Short> {
        self.account.take(self, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives back what is above so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let above = self.bytes.saturating_sub(bytes);
        self.account.give_back(self, above);
        self.bytes = self.bytes.min(bytes);
    }

    /// Takes a part of it out: all of it, if it is not more.
    pub(super) fn split(&mut self, bytes: usize) -> Charge {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Charge {
            account: Arc::clone(&self.account),
            bytes,
            lump: self.lump,
        }
    }

    /// Adds another one. Where one of them was granted after a wait, so is the sum.
    pub(super) fn join(&mut self, mut other: Charge) {
        if self.lump != other.lump {
            let ordinary = if self.lump { &mut other } else { &mut *self };
            ordinary.account.lock().lumps += ordinary.bytes;
            ordinary.lump = true;
        }
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(self, self.bytes);
    }
}

impl Turn {
    /// Waits for what it wants. `None` where there was no room for so long; the place stays.
    ///
    /// Once it has it, it is not in the queue any more.
    pub(super) fn wait(&mut self, patience: Duration) -> Option<Charge> {
        let deadline = Instant::now() + patience;
        let mut state = self.account.lock();
        state.enter(self.number, self.wanted, deadline);
        loop {
            if state.admits(self.number, self.wanted, self.account.bytes_max) {
                state.leave(self.number);
                state.used += self.wanted;
                state.lumps += self.wanted;
                self.account.changed.notify_all();
                return Some(Charge {
                    account: Arc::clone(&self.account),
                    bytes: self.wanted,
                    lump: true,
                });
            }
            let idle = state.idle();
            drop(state);
            let is_none = idle.given_up.is_none();
            drop(idle);
            state = self.account.lock();
            if !is_none || state.admits(self.number, self.wanted, self.account.bytes_max) {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.account.changed.wait_timeout(state, left);
            (state, _) = waited.expect("nothing panics under this lock");
        }
    }

    /// Takes the old place again, for what it had did not do. False where it had `most` already.
    pub(super) fn queue_up(&mut self, short: Short, most: usize) -> bool {
        let most = most.min(self.account.call_max());
        if self.wanted >= most {
            return false;
        }
        self.wanted = wanted(short, most).max(self.wanted);
        let mut state = self.account.lock();
        state.enter(self.number, self.wanted, Instant::now());
        true
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.account.lock().leave(self.number);
        self.account.changed.notify_all();
    }
}

fn wanted(short: Short, most: usize) -> usize {
    let more = short.wanted.saturating_mul(GROWTH);
    more.max(WANTED_MIN).min(most)
}

#[cfg(test)]
mod tests;
