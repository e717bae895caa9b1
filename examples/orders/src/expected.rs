//! What the projections must have made of a day's orders when everything has come to rest.
//!
//! There are no messages here, and no states: an order ends as its own numbers say, whatever the
//! order in which the orders were met. That takes deliveries that are enough for all orders but
//! those that ask for more than was ever delivered.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::contract::{OrderEvent, Placed, StockCommand};
use crate::scenario::Record;

/// Documents by their ids, without the fields that the host adds.
pub type Documents = BTreeMap<String, Value>;

/// How an order ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Shipped,
    OutOfStock,
    NotPaid,
}

/// A day: what came in, what was ordered.
pub struct Day<'a> {
    deliveries: BTreeMap<&'a str, u64>,
    orders: BTreeMap<&'a str, &'a Placed>,
}

impl<'a> Day<'a> {
    pub fn new(deliveries: &'a [Record<StockCommand>], orders: &'a [Record<OrderEvent>]) -> Self {
        let mut delivered: BTreeMap<&str, u64> = BTreeMap::new();
        for record in deliveries {
            if let StockCommand::Deliver { quantity } = record.value {
                *delivered.entry(&record.key).or_default() += quantity;
            }
        }
        let orders = orders.iter().filter_map(|record| match &record.value {
            OrderEvent::Placed(placed) => Some((record.key.as_str(), placed)),
            _ => None,
        });
        Day {
            deliveries: delivered,
            orders: orders.collect(),
        }
    }

    /// How many orders end how.
    pub fn ends(&self) -> BTreeMap<End, usize> {
        let mut ends = BTreeMap::new();
        for placed in self.orders.values() {
            *ends.entry(self.end(placed)).or_default() += 1;
        }
        ends
    }

    /// The view `orders`.
    pub fn orders(&self) -> Documents {
        let document = |placed: &Placed| {
            let (state, steps) = match self.end(placed) {
                End::Shipped => (
                    "shipped",
                    json!(["placed", "stock-reserved", "payment-accepted", "shipped"]),
                ),
                End::OutOfStock => ("cancelled", json!(["placed", "out-of-stock"])),
                End::NotPaid => (
                    "cancelled",
                    json!([
                        "placed",
                        "stock-reserved",
                        "payment-failed",
                        "stock-released"
                    ]),
                ),
            };
            let reason = match self.end(placed) {
                End::Shipped => None,
                End::OutOfStock => Some("out of stock".to_owned()),
                End::NotPaid => Some(format!(
                    "{} cents are over the limit of {}",
                    placed.cents, placed.limit_cents
                )),
            };
            json!({
                "customer": placed.customer,
                "article": placed.article,
                "quantity": placed.quantity,
                "cents": placed.cents,
                "limit_cents": placed.limit_cents,
                "state": state,
                "reason": reason,
                "steps": steps,
            })
        };
        self.orders
            .iter()
            .map(|(order, placed)| ((*order).to_owned(), document(placed)))
            .collect()
    }

    /// The view `stock`.
    pub fn stock(&self) -> Documents {
        let document = |article: &str, delivered: u64| {
            let orders = || {
                self.orders
                    .values()
                    .filter(|placed| placed.article == article)
            };
            let of = |end| orders().filter(move |placed| self.end(placed) == end);
            let shipped: u64 = of(End::Shipped).map(|placed| placed.quantity).sum();
            json!({
                "on_hand": delivered - shipped,
                "shipped": shipped,
                "refused": of(End::OutOfStock).count(),
                "released": of(End::NotPaid).count(),
                "reservations": {},
            })
        };
        self.deliveries
            .iter()
            .map(|(article, delivered)| ((*article).to_owned(), document(article, *delivered)))
            .collect()
    }

    /// The view `payments`. Who only ordered what is out of stock was never asked to pay.
    pub fn payments(&self) -> Documents {
        let mut customers: BTreeMap<&str, Vec<&Placed>> = BTreeMap::new();
        for placed in self.orders.values() {
            if self.end(placed) != End::OutOfStock {
                customers.entry(&placed.customer).or_default().push(placed);
            }
        }
        let document = |asked: Vec<&Placed>| {
            let (paid, failed): (Vec<&Placed>, Vec<&Placed>) = asked
                .into_iter()
                .partition(|placed| self.end(placed) == End::Shipped);
            json!({
                "accepted": paid.len(),
                "failed": failed.len(),
                "cents": paid.iter().map(|placed| placed.cents).sum::<u64>(),
            })
        };
        customers
            .into_iter()
            .map(|(customer, asked)| (customer.to_owned(), document(asked)))
            .collect()
    }

    fn end(&self, placed: &Placed) -> End {
        let delivered = self.deliveries.get(placed.article.as_str());
        if placed.quantity > delivered.copied().unwrap_or(0) {
            End::OutOfStock
        } else if placed.cents > placed.limit_cents {
            End::NotPaid
        } else {
            End::Shipped
        }
    }
}
