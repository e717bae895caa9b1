//! The order saga of examples/orders on the real broker and the real MongoDB, while its host is
//! killed: projections that talk through topics, and take each message once.

use std::collections::BTreeMap;

use bson::{Document, doc};
use order_saga::contract::{OrderEvent, StockCommand};
use order_saga::expected::{Day, Documents, End};
use order_saga::scenario::{self, Record as Sketch};
use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::{Record, Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::{guests, wait};
use rdkafka::message::{Headers as _, Message as _};
use serde::Serialize;

const PARTITIONS: i32 = 3;
const ORDERS: u64 = 1000;

/// Where a shop's events and commands go.
struct Shop {
    orders: Topic,
    stock: Topic,
    payments: Topic,
    database: Database,
    /// Of the same views; what follows from an event is sent once all the same.
    copy: Database,
}

impl Shop {
    async fn new() -> Self {
        let topic = async |what| Topic::create(what, PARTITIONS).await.expect("a topic");
        Shop {
            orders: topic("orders-events").await,
            stock: topic("stock-commands").await,
            payments: topic("payments-commands").await,
            database: Database::new("orders").await.expect("a database"),
            copy: Database::new("orders-copy").await.expect("a database"),
        }
    }

    fn config(&self) -> Config {
        let (orders, stock) = (&self.orders.name, &self.stock.name);
        let payments = &self.payments.name;
        let mut text = format!(
            "[kafka]\nbrokers = \"{}\"\nstatic-membership = true\n\
             properties = {{ \"session.timeout.ms\" = 6000, \"heartbeat.interval.ms\" = 300 }}\n\
             [stores.main]\nkind = \"mongodb\"\nuri = \"{uri}\"\ndatabase = \"{}\"\n\
             [stores.main.copies.east]\nuri = \"{uri}\"\ndatabase = \"{}\"\n",
            brokers(),
            self.database.name,
            self.copy.name,
            uri = uri(),
        );
        let answers = format!("orders-topic = \"{orders}\"");
        let commands = format!("stock-topic = \"{stock}\", payments-topic = \"{payments}\"");
        let projections = [
            ("orders", orders, vec![stock, payments], &commands),
            ("stock", stock, vec![orders], &answers),
            ("payments", payments, vec![orders], &answers),
        ];
        for (name, topic, sends_to, config) in projections {
            text += &format!(
                "[projections.{name}]\nplugin = \"{}\"\ntopics = [\"{topic}\"]\n\
                 group-id = \"{topic}-{name}\"\nmessages = {{ topics = {sends_to:?} }}\n\
                 dedupe = {{ id = \"header:event-id\" }}\nconfig = {{ {config} }}\n\
                 batch = {{ events = 50 }}\n",
                guests::path(name).display()
            );
        }
        Config::new(&orders.replace('.', "-"), &text).expect("a configuration")
    }

    /// Waits until each view is as expected.
    async fn until_right(&self, day: &Day<'_>) {
        let views: [(&str, Documents); 3] = [
            ("orders", day.orders()),
            ("stock", day.stock()),
            ("payments", day.payments()),
        ];
        let databases = [&self.database, &self.copy];
        for ((view, expected), database) in
            (views.iter()).flat_map(|view| databases.map(|database| (view, database)))
        {
            wait::until(&format!("view {view} to be right"), async || {
                let found = database.documents(view).await;
                let found = found.map_err(|error| error.to_string())?;
                let differs = |(id, document): &(&String, _)| found.get(*id) != Some(*document);
                match expected.iter().find(differs) {
                    Some((id, document)) => Err(format!(
                        "{id} is {:?}, not {document}",
                        found.get(id).map(ToString::to_string)
                    )),
                    None if found.len() == expected.len() => Ok(()),
                    None => Err(format!("{} documents", found.len())),
                }
            })
            .await;
        }
    }
}

fn produce<T: Serialize>(topic: &Topic, records: &[Sketch<T>]) {
    let json = |record: &Sketch<T>| serde_json::to_vec(&record.value).expect("plain data");
    let values: Vec<Vec<u8>> = records.iter().map(json).collect();
    let produced = topic.produce(records.iter().zip(&values).map(|(record, value)| Record {
        key: Some(&record.key),
        value: Some(value),
        id: &record.id,
    }));
    produced.expect("the broker takes them");
}

/// How many records of a topic have which `event-id`.
fn ids(topic: &Topic) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for record in topic.read().expect("the topic can be read") {
        let headers = record.headers().expect("it has headers");
        let id = headers.iter().find(|header| header.key == "event-id");
        let id = id.and_then(|header| header.value).expect("it has an id");
        *ids.entry(String::from_utf8_lossy(id).into_owned())
            .or_default() += 1;
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_is_shipped_or_cancelled_however_often_the_host_is_killed() {
    let shop = Shop::new().await;
    let config = shop.config();
    let deliveries: Vec<Sketch<StockCommand>> = scenario::deliveries(ORDERS);
    let orders: Vec<Sketch<OrderEvent>> = scenario::orders(ORDERS);
    let day = Day::new(&deliveries, &orders);
    let ends = day.ends();
    assert!(
        [End::Shipped, End::OutOfStock, End::NotPaid]
            .iter()
            .all(|end| ends[end] > 10),
        "{ends:?}"
    );

    produce(&shop.stock, &deliveries);
    let mut host = Host::start(&config).expect("a host");
    for part in orders.chunks(200) {
        produce(&shop.orders, part);
        // A producer that got no answer.
        produce(&shop.orders, &part[..20]);
        let last = &part[part.len() - 1].key;
        let view = shop.database.collection("orders.v1");
        wait::until("the part to be on its way", async || {
            let found = view.find_one(doc! { "_id": last }).await;
            match found.map_err(|error| error.to_string())? {
                Some(_) => Ok(()),
                None => Err(format!(
                    "{last} is not there; the host says: {}",
                    host.log()
                )),
            }
        })
        .await;
        host.kill().expect("it runs");
        host = Host::start(&config).expect("a host");
    }
    shop.until_right(&day).await;

    // Every message has left, none is of an id of its own for having left twice, and none was to
    // leave from the copy.
    let tables = ["_outbox", "_parked", "_parked_keys"];
    let databases = [&shop.database, &shop.copy];
    for (table, database) in (tables.iter()).flat_map(|table| databases.map(|db| (table, db))) {
        let entries = database.collection(table);
        wait::until(&format!("{table} to be empty"), async || {
            match entries.find_one(Document::new()).await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    let sent = ids(&shop.payments);
    let asked: usize = [End::Shipped, End::NotPaid]
        .iter()
        .map(|end| ends[end])
        .sum();
    assert_eq!(
        sent.len(),
        asked,
        "one request of a payment for each order in stock"
    );
    assert_eq!(ids(&shop.orders).len() as u64, answers(&ends) + ORDERS);
}

/// What stock and payments answer for all orders together.
fn answers(ends: &BTreeMap<End, usize>) -> u64 {
    let answers = |end: &End| match end {
        // Reserved, accepted, shipped.
        End::Shipped => 3,
        End::OutOfStock => 1,
        // Reserved, failed, released.
        End::NotPaid => 3,
    };
    ends.iter()
        .map(|(end, count)| answers(end) * *count as u64)
        .sum()
}
