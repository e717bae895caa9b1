//! A day of orders, always the same: most are shipped, some are too dear for their customer, some
//! are for more than there is.

use crate::contract::{OrderEvent, Placed, StockCommand};

/// A record to produce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<T> {
    /// The value of the header `event-id`.
    pub id: String,
    pub key: String,
    pub value: T,
}

const ARTICLES: u64 = 12;
const CUSTOMERS: u64 = 40;
const LIMIT_CENTS: u64 = 10_000;

/// More than any scenario delivers of an article.
const MORE_THAN_THERE_IS: u64 = 1_000_000_000;

/// The deliveries come first: enough of each article for all orders that can be met.
pub fn deliveries(orders: u64) -> Vec<Record<StockCommand>> {
    let delivery = |article| Record {
        id: format!("delivery-{article}"),
        key: name_of_article(article),
        value: StockCommand::Deliver {
            quantity: 3 * orders,
        },
    };
    (0..ARTICLES).map(delivery).collect()
}

/// The orders as the shop takes them.
pub fn orders(orders: u64) -> Vec<Record<OrderEvent>> {
    let order = |number| Record {
        id: format!("placed-{number}"),
        key: format!("order-{number:05}"),
        value: OrderEvent::Placed(placed(number)),
    };
    (0..orders).map(order).collect()
}

fn placed(number: u64) -> Placed {
    let quantity = match number % 31 {
        30 => MORE_THAN_THERE_IS,
        _ => 1 + number % 3,
    };
    let cents = match number % 7 {
        6 => LIMIT_CENTS + 1 + number,
        _ => 1 + number * 97 % LIMIT_CENTS,
    };
    Placed {
        customer: format!("customer-{}", number * 13 % CUSTOMERS),
        article: name_of_article(number * 5 % ARTICLES),
        quantity,
        cents,
        limit_cents: LIMIT_CENTS,
    }
}

fn name_of_article(article: u64) -> String {
    format!("article-{article}")
}
