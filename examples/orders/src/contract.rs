//! The messages of the saga, as JSON: all that its projections know of one another.

use serde::{Deserialize, Serialize};

/// What happens to an order: a record of the topic `orders.events`, whose key is the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum OrderEvent {
    /// From the shop; all others are answers.
    Placed(Placed),
    StockReserved,
    OutOfStock,
    PaymentAccepted,
    PaymentFailed {
        reason: String,
    },
    StockReleased,
    Shipped,
}

/// An order as the shop takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub customer: String,
    pub article: String,
    pub quantity: u64,
    /// The price of all of it.
    pub cents: u64,
    /// What this customer may spend on one order.
    pub limit_cents: u64,
}

/// What the stock is asked to do: a record of the topic `stock.commands`, whose key is the
/// article.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum StockCommand {
    /// Goods have come in.
    Deliver { quantity: u64 },
    /// Answered by [`OrderEvent::StockReserved`] or [`OrderEvent::OutOfStock`].
    Reserve { order: String, quantity: u64 },
    /// Takes a reservation back. Answered by [`OrderEvent::StockReleased`].
    Release { order: String },
    /// Sends out what is reserved. Answered by [`OrderEvent::Shipped`].
    Ship { order: String },
}

/// What is to be paid: a record of the topic `payments.commands`, whose key is the customer.
/// Answered by [`OrderEvent::PaymentAccepted`] or [`OrderEvent::PaymentFailed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRequest {
    pub order: String,
    pub cents: u64,
    pub limit_cents: u64,
}
