//! What one instance has of the account: its own memory, and what the present call takes.
//!
//! Everything is taken before it is had. What a call took is given back at its end, but for the
//! parts that outlive it, which are split off.

use std::sync::Arc;

use super::account::{Account, Charge, Short};

/// What every instance takes beside its memories and tables: the engine's own structures.
pub(super) const INSTANCE_BYTES: usize = 256 << 10;

/// What an answer comes to, in times of the most that it may have when it is handed over: that
/// itself, and documents and messages made of it, in both encodings.
pub(super) const ANSWER_TIMES: usize = 3;

#[derive(Debug)]
pub(super) struct Purse {
    charge: Charge,
    /// For the life of the instance.
    kept: usize,
    /// For the present call.
    call: usize,
    /// Of the call: room for the answer. Until there is one, it is used for what passes from the
    /// guest to the host and back during the call.
    passing: usize,
}

impl Purse {
    /// An empty one.
    pub(super) fn new(account: &Arc<Account>) -> Self {
        Purse::with(account.charge())
    }

    /// One that takes from this charge first.
    pub(super) fn with(charge: Charge) -> Self {
        Purse {
            charge,
            kept: 0,
            call: 0,
            passing: 0,
        }
    }

    /// Leaves an empty one in its place.
    pub(super) fn take_out(&mut self) -> Purse {
        let empty = Purse::new(self.charge.account());
        std::mem::replace(self, empty)
    }

    /// Adds to what there is to take from.
    pub(super) fn fund(&mut self, charge: Charge) {
        self.charge.join(charge);
    }

    /// For an instance that is about to start.
    pub(super) fn keep_instance(&mut self) -> Result<(), Short> {
        self.keep(INSTANCE_BYTES)
    }

    pub(super) fn keep(&mut self, bytes: usize) -> Result<(), Short> {
        self.have(bytes)?;
        self.kept += bytes;
        Ok(())
    }

    /// What was kept could not be had after all.
    pub(super) fn unkeep(&mut self, bytes: usize) {
        self.kept -= bytes;
    }

    /// A call begins that is given so many bytes, and may hand over so many at once.
    pub(super) fn begin(&mut self, given: usize, room: usize) -> Result<(), Short> {
        // What the call before has not given back is used again.
        (self.call, self.passing) = (0, 0);
        let passing = room.saturating_mul(ANSWER_TIMES);
        self.take(given.saturating_add(passing))?;
        self.passing = passing;
        Ok(())
    }

    /// Takes for the rest of the call.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Short> {
        self.have(bytes)?;
        self.call += bytes;
        Ok(())
    }

    /// Takes for what is gone before the call has its answer, and before the next of its kind.
    pub(super) fn pass(&mut self, bytes: usize) -> Result<(), Short> {
        self.take(bytes.saturating_sub(self.passing))?;
        self.passing = self.passing.max(bytes);
        Ok(())
    }

    /// Takes out of the call what outlives it.
    pub(super) fn split(&mut self, bytes: usize) -> Charge {
        let bytes = bytes.min(self.call);
        self.call -= bytes;
        self.charge.split(bytes)
    }

    /// The call is over, and what it took is given back.
    pub(super) fn end(&mut self) {
        (self.call, self.passing) = (0, 0);
        self.charge.shrink_to(self.kept);
    }

    fn have(&mut self, bytes: usize) -> Result<(), Short> {
        let needed = (self.kept + self.call).saturating_add(bytes);
        let more = needed.saturating_sub(self.charge.bytes());
        if more > 0 {
            self.charge.grow(more)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_gives_back_all_but_what_outlives_it_and_what_the_instance_keeps() {
        let account = Account::new(100 << 20);
        let mut purse = Purse::new(&account);
        purse.keep(10 << 20).expect("room");
        purse.begin(1 << 20, 4 << 20).expect("room");
        assert_eq!(purse.charge.bytes(), 23 << 20);
        purse.pass(12 << 20).expect("it is the answer's");
        assert_eq!(purse.charge.bytes(), 23 << 20);
        purse.pass(14 << 20).expect("room");
        assert_eq!(purse.charge.bytes(), 25 << 20);
        let outlives = purse.split(5 << 20);
        purse.end();
        assert_eq!(
            (purse.charge.bytes(), outlives.bytes()),
            (10 << 20, 5 << 20)
        );
    }

    #[test]
    fn what_was_granted_before_is_used_first() {
        let account = Account::new(100 << 20);
        let mut granted = account.charge();
        granted.grow(100 << 20).expect("room");
        let mut purse = Purse::with(granted);
        purse.keep(40 << 20).expect("it is granted");
        purse.take(60 << 20).expect("it is granted");
        let short = purse.take(1).expect_err("it has all");
        assert_eq!(short.wanted, (100 << 20) + 1);
        purse.unkeep(30 << 20);
        purse.end();
        assert_eq!(purse.charge.bytes(), 10 << 20);
    }
}
