//! One document for each article: what is there, and for whom it is kept.
//!
//! Commands are keyed by article, so they come one after the other: a reservation is made of what
//! is there, and never twice.

use std::collections::BTreeMap;

use order_saga::contract::{OrderEvent, StockCommand};
use projectionist_sdk::{Event, Message, Projection, Reject, export};
use serde::{Deserialize, Serialize};

pub struct Stock {
    answers: Answers,
}

/// Where answers go.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Answers {
    orders_topic: String,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Article {
    /// Reserved or not.
    on_hand: u64,
    shipped: u64,
    /// Orders that asked for more than was there.
    refused: u64,
    /// Reservations that were taken back.
    released: u64,
    /// What is kept for which order.
    reservations: BTreeMap<String, u64>,
}

impl Default for Answers {
    fn default() -> Self {
        Answers {
            orders_topic: "orders.events".to_owned(),
        }
    }
}

impl Projection for Stock {
    const NAME: &str = "stock";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "One document for each article; reserves and releases it for orders.";
    const VIEW: &str = "stock";
    type Config = Answers;
    type Event<'a> = StockCommand;
    type Document = Article;

    fn new(answers: Answers) -> Result<Self, String> {
        Ok(Stock { answers })
    }

    fn fold(
        &self,
        event: &Event<StockCommand>,
        _article: &str,
        article: &mut Option<Article>,
    ) -> Result<(), Reject> {
        let Some(command) = &event.value else {
            return Err(Reject::because("an article is never deleted"));
        };
        let article = article.get_or_insert_default();
        let (order, answer) = match command {
            StockCommand::Deliver { quantity } => {
                article.on_hand += quantity;
                return Ok(());
            }
            StockCommand::Reserve { order, quantity } => {
                (order, article.reserve(order, *quantity)?)
            }
            StockCommand::Release { order } => {
                article.take(order)?;
                article.released += 1;
                (order, OrderEvent::StockReleased)
            }
            StockCommand::Ship { order } => {
                let quantity = article.take(order)?;
                article.on_hand -= quantity;
                article.shipped += quantity;
                (order, OrderEvent::Shipped)
            }
        };
        let topic = &self.answers.orders_topic;
        event.send(Message::to(topic).key(order.as_str()).json(&answer)?);
        Ok(())
    }
}

export!(Stock);

impl Article {
    fn reserve(&mut self, order: &str, quantity: u64) -> Result<OrderEvent, Reject> {
        if self.reservations.contains_key(order) {
            return Err(Reject::because(format_args!(
                "order {order} has a reservation already"
            )));
        }
        let reserved: u64 = self.reservations.values().sum();
        if quantity > self.on_hand - reserved {
            self.refused += 1;
            return Ok(OrderEvent::OutOfStock);
        }
        self.reservations.insert(order.to_owned(), quantity);
        Ok(OrderEvent::StockReserved)
    }

    /// Ends a reservation, and answers for how much it was.
    fn take(&mut self, order: &str) -> Result<u64, Reject> {
        self.reservations
            .remove(order)
            .ok_or_else(|| Reject::because(format_args!("nothing is reserved for order {order}")))
    }
}
