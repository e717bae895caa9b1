//! The process manager: one document for each order, and the next command of its saga.
//!
//! ```text
//!              reserve              request             ship
//!  placed ──▶ Reserving ──reserved──▶ Paying ──accepted──▶ Shipping ──▶ Shipped
//!                 │                     │ failed
//!           out of stock             release
//!                 ▼                     ▼
//!             Cancelled ◀──released── Releasing
//! ```
//!
//! Each transition is stored together with the command that it sends, so the saga can neither
//! stand still between two steps nor take one twice. An event that does not follow from the
//! order's state is rejected: something is wrong that nobody should guess about.

use order_saga::contract::{OrderEvent, PaymentRequest, Placed, StockCommand};
use projectionist_sdk::{Event, Message, Projection, Reject, export};
use serde::{Deserialize, Serialize};

pub struct Orders {
    topics: Topics,
}

/// Where commands go.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Topics {
    stock_topic: String,
    payments_topic: String,
}

#[derive(Serialize, Deserialize)]
pub struct Order {
    #[serde(flatten)]
    placed: Placed,
    state: State,
    /// Why it was cancelled, or is about to be.
    reason: Option<String>,
    /// What has happened to it, in order.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The stock was asked for a reservation.
    Reserving,
    /// The customer was asked to pay.
    Paying,
    /// The stock was asked to send the goods out.
    Shipping,
    /// The stock was asked to take the reservation back.
    Releasing,
    Shipped,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Placed,
    StockReserved,
    OutOfStock,
    PaymentAccepted,
    PaymentFailed,
    StockReleased,
    Shipped,
}

impl Default for Topics {
    fn default() -> Self {
        Topics {
            stock_topic: "stock.commands".to_owned(),
            payments_topic: "payments.commands".to_owned(),
        }
    }
}

impl Projection for Orders {
    const NAME: &str = "orders";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str =
        "The order saga: one document for each order, with its state and its history.";
    const VIEW: &str = "orders";
    type Config = Topics;
    type Event<'a> = OrderEvent;
    type Document = Order;

    fn new(topics: Topics) -> Result<Self, String> {
        Ok(Orders { topics })
    }

    fn fold(
        &self,
        event: &Event<OrderEvent>,
        id: &str,
        order: &mut Option<Order>,
    ) -> Result<(), Reject> {
        let Some(happened) = &event.value else {
            return Err(Reject::because("an order is never deleted"));
        };
        let command = match order {
            Some(order) => self.step(id, order, happened)?,
            None => {
                let OrderEvent::Placed(placed) = happened else {
                    return Err(Reject::because(format_args!(
                        "order {id} was never placed, and is now told {happened:?}"
                    )));
                };
                *order = Some(Order::new(placed));
                let reserve = StockCommand::Reserve {
                    order: id.to_owned(),
                    quantity: placed.quantity,
                };
                Some(self.to_stock(&placed.article, &reserve)?)
            }
        };
        if let Some(command) = command {
            event.send(command);
        }
        Ok(())
    }
}

export!(Orders);

impl Orders {
    /// One transition, and the command that goes with it.
    fn step(
        &self,
        id: &str,
        order: &mut Order,
        happened: &OrderEvent,
    ) -> Result<Option<Message>, Reject> {
        let (state, step, command) = match (order.state, happened) {
            (State::Reserving, OrderEvent::StockReserved) => {
                let request = PaymentRequest {
                    order: id.to_owned(),
                    cents: order.placed.cents,
                    limit_cents: order.placed.limit_cents,
                };
                let command = Message::to(&self.topics.payments_topic)
                    .key(order.placed.customer.as_str())
                    .json(&request)?;
                (State::Paying, Step::StockReserved, Some(command))
            }
            (State::Reserving, OrderEvent::OutOfStock) => {
                order.reason = Some("out of stock".to_owned());
                (State::Cancelled, Step::OutOfStock, None)
            }
            (State::Paying, OrderEvent::PaymentAccepted) => {
                let order_id = id.to_owned();
                let ship = StockCommand::Ship { order: order_id };
                let command = self.to_stock(&order.placed.article, &ship)?;
                (State::Shipping, Step::PaymentAccepted, Some(command))
            }
            (State::Paying, OrderEvent::PaymentFailed { reason }) => {
                order.reason = Some(reason.clone());
                let order_id = id.to_owned();
                let release = StockCommand::Release { order: order_id };
                let command = self.to_stock(&order.placed.article, &release)?;
                (State::Releasing, Step::PaymentFailed, Some(command))
            }
            (State::Releasing, OrderEvent::StockReleased) => {
                (State::Cancelled, Step::StockReleased, None)
            }
            (State::Shipping, OrderEvent::Shipped) => (State::Shipped, Step::Shipped, None),
            (state, happened) => {
                return Err(Reject::because(format_args!(
                    "order {id} is {state:?}, and is now told {happened:?}"
                )));
            }
        };
        order.state = state;
        order.steps.push(step);
        Ok(command)
    }

    fn to_stock(&self, article: &str, command: &StockCommand) -> Result<Message, Reject> {
        Ok(Message::to(&self.topics.stock_topic)
            .key(article)
            .json(command)?)
    }
}

impl Order {
    fn new(placed: &Placed) -> Self {
        Order {
            placed: placed.clone(),
            state: State::Reserving,
            reason: None,
            steps: vec![Step::Placed],
        }
    }
}
