//! As the guest `bench-pairs`.

use bench_pairs::{Balance, Move};

use super::Fold;

pub struct Pairs;

impl Fold for Pairs {
    type Event<'a> = Move<'a>;
    type Document = Balance;

    fn ids<'a>(_: &'a str, event: &'a Move<'_>) -> (&'a str, Option<&'a str>) {
        event.ids()
    }

    fn fold(&self, event: &Move<'_>, id: &str, balance: &mut Balance) {
        balance.take(event, id);
    }
}
