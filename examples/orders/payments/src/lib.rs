//! One document for each customer: what they have paid.
//!
//! A payment fails where it is over the limit that the request names. Whether it does is in the
//! event alone, so the outcome of an order depends on no other order.

use order_saga::contract::{OrderEvent, PaymentRequest};
use projectionist_sdk::{Event, Message, Projection, Reject, export};
use serde::{Deserialize, Serialize};

pub struct Payments {
    answers: Answers,
}

/// Where answers go.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Answers {
    orders_topic: String,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Customer {
    /// Payments.
    accepted: u64,
    failed: u64,
    /// Of all payments that were accepted.
    cents: u64,
}

impl Default for Answers {
    fn default() -> Self {
        Answers {
            orders_topic: "orders.events".to_owned(),
        }
    }
}

impl Projection for Payments {
    const NAME: &str = "payments";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "One document for each payment; answers the saga's requests.";
    const VIEW: &str = "payments";
    type Config = Answers;
    type Event<'a> = PaymentRequest;
    type Document = Customer;

    fn new(answers: Answers) -> Result<Self, String> {
        Ok(Payments { answers })
    }

    fn fold(
        &self,
        event: &Event<PaymentRequest>,
        _customer: &str,
        customer: &mut Option<Customer>,
    ) -> Result<(), Reject> {
        let Some(request) = &event.value else {
            return Err(Reject::because("a customer is never deleted"));
        };
        let customer = customer.get_or_insert_default();
        let answer = customer.pay(request);
        let message = Message::to(&self.answers.orders_topic).key(request.order.as_str());
        event.send(message.json(&answer)?);
        Ok(())
    }
}

export!(Payments);

impl Customer {
    fn pay(&mut self, request: &PaymentRequest) -> OrderEvent {
        let PaymentRequest {
            cents, limit_cents, ..
        } = request;
        if cents > limit_cents {
            self.failed += 1;
            let reason = format!("{cents} cents are over the limit of {limit_cents}");
            return OrderEvent::PaymentFailed { reason };
        }
        self.accepted += 1;
        self.cents += cents;
        OrderEvent::PaymentAccepted
    }
}
