//! The projection of the benchmark `shared`: an event moves an amount from one document to
//! another, and events of one document come from all partitions.
//!
//! Every field is one whose value does not depend on the order of events, because partitions are
//! read in no fixed order.

use std::borrow::Cow;

use projectionist_sdk::{Event, Ids, NoConfig, Ownership, Projection, Reject, export};
use serde::{Deserialize, Serialize};

pub struct Pairs;

#[derive(Deserialize)]
pub struct Move<'a> {
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    to: Cow<'a, str>,
    amount: i64,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Balance {
    count: u64,
    sum: i64,
}

impl Projection for Pairs {
    const NAME: &str = "bench-pairs";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const VIEW: &str = "pairs";
    const OWNERSHIP: Ownership = Ownership::Shared;
    type Config = NoConfig;
    type Event<'a> = Move<'a>;
    type Document = Balance;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Pairs)
    }

    fn ids<'a>(&self, event: &Event<'a, Move<'a>>, ids: &mut Ids) -> Result<(), Reject> {
        if let Some(value) = &event.value {
            let (from, to) = value.ids();
            ids.add(from);
            to.into_iter().for_each(|to| ids.add(to));
        }
        Ok(())
    }

    fn fold(
        &self,
        event: &Event<Move>,
        id: &str,
        balance: &mut Option<Balance>,
    ) -> Result<(), Reject> {
        let Some(value) = &event.value else {
            return Ok(());
        };
        balance.get_or_insert_default().take(value, id);
        Ok(())
    }
}

export!(Pairs);

impl Move<'_> {
    /// Names the documents that it changes; they may be one.
    pub fn ids(&self) -> (&str, Option<&str>) {
        (&self.from, (self.to != self.from).then_some(&self.to))
    }
}

impl Balance {
    /// Takes a move to or from this document in.
    pub fn take(&mut self, value: &Move, id: &str) {
        self.count += 1;
        if id == value.from {
            self.sum -= value.amount;
        }
        if id == value.to {
            self.sum += value.amount;
        }
    }
}
