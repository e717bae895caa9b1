//! As the guest `bench-pairs`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Fold;

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

impl Fold for Pairs {
    type Event<'a> = Move<'a>;
    type Document = Balance;

    fn ids<'a>(_: &'a str, event: &'a Move<'_>) -> (&'a str, Option<&'a str>) {
        (&event.from, (event.to != event.from).then_some(&event.to))
    }

    fn fold(&self, event: &Move<'_>, id: &str, balance: &mut Balance) {
        balance.count += 1;
        if id == event.from {
            balance.sum -= event.amount;
        }
        if id == event.to {
            balance.sum += event.amount;
        }
    }
}
