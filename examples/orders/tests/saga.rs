//! The saga in one process: its three projections, and topics in memory.
//!
//! The SDK runs as it does in a plugin; Wasm, Kafka and MongoDB are left out (they are in
//! `tests/`), so this is quick and says whether the logic is right.

use std::collections::VecDeque;

use order_saga::contract::{OrderEvent, PaymentRequest, Placed, StockCommand};
use order_saga::expected::{Day, End};
use order_saga::scenario;
use orders::Orders;
use payments::Payments;
use projectionist_sdk::Message;
use projectionist_sdk::testing::{Harness, Record, Rejected};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;
use stock::Stock;

/// Three projections and the topics between them.
struct Saga {
    orders: Harness<Orders>,
    stock: Harness<Stock>,
    payments: Harness<Payments>,
    order_events: VecDeque<Record>,
    stock_commands: VecDeque<Record>,
    payment_requests: VecDeque<Record>,
}

#[derive(Clone, Copy, Debug)]
enum Service {
    Orders,
    Stock,
    Payments,
}

const SERVICES: [Service; 3] = [Service::Orders, Service::Stock, Service::Payments];

impl Saga {
    fn new() -> Self {
        Saga {
            orders: Harness::new("{}").expect("the defaults are right"),
            stock: Harness::new("{}").expect("the defaults are right"),
            payments: Harness::new("{}").expect("the defaults are right"),
            order_events: VecDeque::new(),
            stock_commands: VecDeque::new(),
            payment_requests: VecDeque::new(),
        }
    }

    /// With ten of each article that an order of this test asks for.
    fn with_stock() -> Self {
        let mut saga = Saga::new();
        let delivery = StockCommand::Deliver { quantity: 10 };
        saga.stock_commands
            .push_back(Record::json("tea", &delivery));
        saga
    }

    fn place(&mut self, order: &str, placed: Placed) {
        let event = OrderEvent::Placed(placed);
        self.order_events.push_back(Record::json(order, &event));
    }

    /// Lets one service fold a batch, and delivers what it sends.
    fn turn(&mut self, service: Service, batch_records: usize) -> Result<(), Rejected> {
        let sent = match service {
            Service::Orders => turn(&mut self.orders, &mut self.order_events, batch_records)?,
            Service::Stock => turn(&mut self.stock, &mut self.stock_commands, batch_records)?,
            Service::Payments => turn(
                &mut self.payments,
                &mut self.payment_requests,
                batch_records,
            )?,
        };
        for message in sent {
            let topic = match message.topic.as_str() {
                "orders.events" => &mut self.order_events,
                "stock.commands" => &mut self.stock_commands,
                "payments.commands" => &mut self.payment_requests,
                other => panic!("a message went to {other}"),
            };
            topic.push_back(message.into());
        }
        Ok(())
    }

    fn is_at_rest(&self) -> bool {
        let queues = [
            &self.order_events,
            &self.stock_commands,
            &self.payment_requests,
        ];
        queues.iter().all(|queue| queue.is_empty())
    }

    fn run(&mut self) {
        while !self.is_at_rest() {
            for service in SERVICES {
                self.turn(service, 100).expect("nothing is rejected");
            }
        }
    }

    fn state(&self, order: &str) -> String {
        self.orders.documents()[order]["state"]
            .as_str()
            .expect("an order has a state")
            .to_owned()
    }
}

fn turn<P: projectionist_sdk::Projection>(
    harness: &mut Harness<P>,
    queue: &mut VecDeque<Record>,
    batch_records: usize,
) -> Result<Vec<Message>, Rejected> {
    let batch = queue.drain(..batch_records.min(queue.len()));
    harness.project(batch)?;
    Ok(harness.take_messages())
}

/// Two of the article "tea" for 500 cents, which the customer may spend.
fn order() -> Placed {
    Placed {
        customer: "ann".to_owned(),
        article: "tea".to_owned(),
        quantity: 2,
        cents: 500,
        limit_cents: 500,
    }
}

#[test]
fn an_order_that_is_paid_is_shipped() {
    let mut saga = Saga::with_stock();
    saga.place("o-1", order());
    saga.run();

    let order = &saga.orders.documents()["o-1"];
    assert_eq!(order["state"], "shipped");
    assert_eq!(
        order["steps"],
        json!(["placed", "stock-reserved", "payment-accepted", "shipped"])
    );
    let stock = &saga.stock.documents()["tea"];
    assert_eq!(
        (&stock["on_hand"], &stock["shipped"]),
        (&json!(8), &json!(2))
    );
    assert_eq!(stock["reservations"], json!({}));
    assert_eq!(saga.payments.documents()["ann"]["cents"], 500);
}

#[test]
fn a_failed_payment_releases_the_stock_and_cancels_the_order() {
    let mut saga = Saga::with_stock();
    let cents = 501;
    saga.place("o-1", Placed { cents, ..order() });

    // The order, its reservation, the answer: something is kept for it until it cannot be paid.
    for service in [Service::Stock, Service::Orders, Service::Stock] {
        saga.turn(service, 1).expect("nothing is rejected");
    }
    let kept = saga.stock.documents()["tea"]["reservations"].clone();
    assert_eq!(kept, json!({"o-1": 2}));
    saga.run();

    let order = &saga.orders.documents()["o-1"];
    assert_eq!(order["state"], "cancelled");
    assert_eq!(order["reason"], "501 cents are over the limit of 500");
    let stock = &saga.stock.documents()["tea"];
    assert_eq!(
        (&stock["on_hand"], &stock["released"]),
        (&json!(10), &json!(1))
    );
    assert_eq!(stock["reservations"], json!({}));
    assert_eq!(saga.payments.documents()["ann"]["cents"], 0);
}

#[test]
fn an_order_for_more_than_there_is_is_cancelled_and_nobody_pays() {
    let mut saga = Saga::with_stock();
    let quantity = 11;
    saga.place(
        "o-1",
        Placed {
            quantity,
            ..order()
        },
    );
    saga.run();

    let order = &saga.orders.documents()["o-1"];
    assert_eq!(order["state"], "cancelled");
    assert_eq!(order["reason"], "out of stock");
    assert_eq!(saga.stock.documents()["tea"]["refused"], 1);
    assert!(saga.payments.documents().is_empty());
}

#[test]
fn what_is_kept_for_one_order_is_not_there_for_another() {
    let mut saga = Saga::with_stock();
    let quantity = 6;
    for id in ["o-1", "o-2"] {
        saga.place(
            id,
            Placed {
                quantity,
                ..order()
            },
        );
    }
    saga.run();

    let states = [saga.state("o-1"), saga.state("o-2")];
    assert_eq!(states, ["shipped", "cancelled"]);
    assert_eq!(saga.stock.documents()["tea"]["on_hand"], 4);
}

#[test]
fn a_step_that_nobody_asked_for_is_rejected() {
    let request = PaymentRequest {
        order: "o-1".to_owned(),
        cents: 1,
        limit_cents: 2,
    };
    fn event(event: &impl Serialize) -> Record {
        Record::json("o-1", event)
    }
    let mut saga = Saga::with_stock();
    saga.place("o-1", order());
    saga.run();

    for again in [OrderEvent::Placed(order()), OrderEvent::Shipped] {
        let rejected = saga.orders.project([event(&again)]).expect_err("a repeat");
        assert!(rejected.reason.contains("o-1 is Shipped"), "{rejected:?}");
    }
    let never_placed = Record::json("o-2", &OrderEvent::Shipped);
    let rejected = saga.orders.project([never_placed]).expect_err("no order");
    assert!(rejected.reason.contains("never placed"), "{rejected:?}");
    let rejected = saga.orders.project([event(&request)]);
    assert!(rejected.is_err(), "a command is no event");
    let ship = StockCommand::Ship {
        order: "o-1".to_owned(),
    };
    let rejected = saga.stock.project([Record::json("tea", &ship)]);
    let reason = rejected.expect_err("it is shipped").reason;
    assert!(reason.contains("nothing is reserved"), "{reason}");
    assert!(saga.orders.take_messages().is_empty());
    assert!(saga.stock.take_messages().is_empty());
}

#[test]
fn commands_and_answers_go_where_the_configuration_says() {
    let config = r#"{"stock-topic": "s", "payments-topic": "p"}"#;
    let mut orders = Harness::<Orders>::new(config).expect("two topics");
    let events = [OrderEvent::Placed(order()), OrderEvent::StockReserved];
    let events = events.map(|event| Record::json("o-1", &event));
    orders
        .project(events)
        .expect("an order and its reservation");

    let sent: Vec<(String, Option<Vec<u8>>)> = orders
        .take_messages()
        .into_iter()
        .map(|message| (message.topic, message.key))
        .collect();
    let to = |topic: &str, key: &str| (topic.to_owned(), Some(key.as_bytes().to_vec()));
    assert_eq!(sent, [to("s", "tea"), to("p", "ann")]);

    let config = r#"{"orders-topic": "o"}"#;
    let mut payments = Harness::<Payments>::new(config).expect("a topic");
    let request = PaymentRequest {
        order: "o-1".to_owned(),
        cents: 1,
        limit_cents: 2,
    };
    let request = Record::json("ann", &request);
    payments.project([request]).expect("a request");
    assert_eq!(payments.take_messages()[0].topic, "o");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever comes first and however the batches are cut.
    #[test]
    fn every_order_ends_as_its_own_numbers_say(
        schedule in prop::collection::vec((0..3_usize, 1..60_usize), 1..40),
    ) {
        let (deliveries, orders) = (scenario::deliveries(200), scenario::orders(200));
        let day = Day::new(&deliveries, &orders);
        let ends = day.ends();
        prop_assert!(ends[&End::OutOfStock] > 3 && ends[&End::NotPaid] > 20, "{:?}", ends);

        let mut saga = Saga::new();
        let records = deliveries.iter().map(|record| Record::json(&record.key, &record.value));
        saga.stock_commands.extend(records);
        let records = orders.iter().map(|record| Record::json(&record.key, &record.value));
        saga.order_events.extend(records);
        for (service, batch_records) in schedule {
            let turn = saga.turn(SERVICES[service], batch_records);
            prop_assert!(turn.is_ok(), "{:?}", turn);
        }
        saga.run();

        prop_assert_eq!(saga.orders.documents(), day.orders());
        prop_assert_eq!(saga.stock.documents(), day.stock());
        prop_assert_eq!(saga.payments.documents(), day.payments());
    }
}
