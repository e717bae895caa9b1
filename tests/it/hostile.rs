//! Hostile records on a real broker, through whole hosts: nothing that a record holds ends a host or
//! holds up others, and each record is folded or parked as what it is.
//!
//! A few seeds belong to the tests; `PROJECTIONIST_HOSTILE_SEEDS=1..100` runs others
//! (`make hostile ARGS=1..100`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use projectionist_tests::host::{Config, Host};
use projectionist_tests::hostile::generator::{Scenario, scenario};
use projectionist_tests::hostile::model::{self, Outcome, Stored};
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::raw::{End, RawProducer, RawRecord};
use projectionist_tests::{guests, unique, wait};
use serde_json::{Value, json};

/// Those of every run of the tests.
const SEEDS: Range<u64> = 1..4;

/// The projections that a scenario's records go to, each with its settings.
const PROJECTIONS: [(&str, &str); 4] = [
    ("mirror", ""),
    ("tally", ""),
    (
        "count",
        "dedupe = { id = \"header:h\" }\nconfig = { group-by = [\"/n\"] }\n",
    ),
    ("debezium", ""),
];

/// The topic takes and keeps records of whatever timestamp.
const ANY_TIME: [(&str, &str); 3] = [
    ("retention.ms", "-1"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_is_folded_or_parked_and_no_host_ends() {
    for seed in seeds() {
        let scenario = scenario(seed);
        Run::new(seed, &scenario).await.play(&scenario).await;
    }
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("PROJECTIONIST_HOSTILE_SEEDS") else {
        return SEEDS;
    };
    let bounds = text.split_once("..");
    let bounds = bounds.and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    bounds.expect("PROJECTIONIST_HOSTILE_SEEDS is like 1..100")
}

/// One scenario on its way.
struct Run {
    seed: u64,
    topic: Topic,
    database: Database,
    config: Config,
    /// What the topic has, by partition.
    stored: BTreeMap<i32, Vec<Stored>>,
}

impl Run {
    async fn new(seed: u64, scenario: &Scenario) -> Self {
        println!("seed {seed}");
        // Every character that a topic's name may have, and many of them.
        let name = format!("_h.o-s_T{}", "i.l-e_".repeat(seed as usize % 25));
        let topic = Topic::create_with_all(&brokers(), &name, scenario.partitions, &ANY_TIME)
            .await
            .expect("a topic");
        let database = Database::new("hostile").await.expect("a database");
        let mut text = format!(
            "[kafka]\nbrokers = \"{}\"\n\
             properties = {{ \"session.timeout.ms\" = 3500, \"heartbeat.interval.ms\" = 300 }}\n\
             [stores.main]\nkind = \"mongodb\"\nuri = \"{}\"\n\
             database = \"{}\"\n",
            brokers(),
            uri(),
            database.name,
        );
        for (name, settings) in PROJECTIONS {
            write!(
                text,
                "[projections.{name}]\nplugin = \"{}\"\ntopics = [\"{}\"]\n\
                 group-id = \"{}-{name}\"\n{settings}",
                guests::path(name).display(),
                topic.name,
                database.name,
            )
            .expect("a string takes what it gets");
        }
        Run {
            seed,
            config: Config::new("host", &text).expect("a configuration"),
            topic,
            database,
            stored: BTreeMap::new(),
        }
    }

    async fn play(mut self, scenario: &Scenario) {
        let mut host = scenario.host_first.then(|| self.start());
        for (number, burst) in scenario.bursts.iter().enumerate() {
            if number == scenario.kill_before
                && let Some(running) = host.take()
            {
                running.kill().expect("a running host");
                host = Some(self.start());
            }
            self.produce(burst.compression, burst.transaction, &burst.records);
            if number + 1 == scenario.deleted_bursts {
                self.delete().await;
            }
        }
        let host = host.unwrap_or_else(|| self.start());
        self.compare(&host).await;
        drop(host);
        self.database.drop().await.expect("the database is dropped");
    }

    fn start(&self) -> Host {
        Host::start(&self.config).expect("a host")
    }

    /// Produces records, one batch each where they are not a transaction.
    fn produce(&mut self, compression: &str, transaction: Option<End>, records: &[RawRecord]) {
        let mut config = self.topic.client_config();
        config.set("compression.codec", compression);
        let topic = &self.topic.name;
        let (reports, records) = match transaction {
            None => {
                config.set("linger.ms", "0");
                let producer = RawProducer::new(config).expect("a producer");
                let mut reports = BTreeMap::new();
                for record in records {
                    producer.send(topic, record).expect("a record is sent");
                    reports.extend(producer.flush().expect("an answer"));
                }
                (reports, records.to_vec())
            }
            Some(end) => {
                config.set("transactional.id", unique("hostile"));
                let producer = RawProducer::new(config).expect("a producer");
                // One that the broker refuses would end the transaction.
                let records = records.iter().map(|record| RawRecord {
                    timestamp_ms: record.timestamp_ms.clamp(1, 1 << 40),
                    ..record.clone()
                });
                let records: Vec<RawRecord> = records.collect();
                let reports = producer.transact(end, |producer| {
                    for record in &records {
                        producer.send(topic, record)?;
                    }
                    Ok(())
                });
                (reports.expect("a transaction"), records)
            }
        };
        if transaction == Some(End::Abort) {
            return;
        }
        for (number, result) in reports {
            let record = records[number].clone();
            match result {
                Ok(offset) => self
                    .stored
                    .entry(record.partition)
                    .or_default()
                    .push(Stored { offset, record }),
                Err(error) => println!("refused by the broker: {record:?}: {error}"),
            }
        }
    }

    /// Deletes what partition 0 has.
    async fn delete(&mut self) {
        let end = self.ends().await[0];
        let deleted = self.topic.delete_records(0, end).await;
        deleted.expect("the records are deleted");
        self.stored.remove(&0);
    }

    async fn ends(&self) -> Vec<i64> {
        self.topic.ends().expect("the ends")
    }

    async fn compare(&self, host: &Host) {
        for (projection, _) in PROJECTIONS {
            self.wait_for_end(host, projection).await;
        }
        host.wait_until_ready().await;
        let found = self.outcome("mirror").await;
        let expected = model::mirror(&self.stored, &found.parked);
        self.agree("mirror", &found, &expected);
        let found = self.outcome("tally").await;
        self.agree("tally", &found, &model::tally(&self.stored));
    }

    fn agree(&self, projection: &str, found: &Outcome, expected: &Outcome) {
        let place = format!("seed {}: {projection}", self.seed);
        assert_eq!(found.parked, expected.parked, "{place}");
        for (id, document) in &expected.documents {
            let found = found.documents.get(id);
            assert_eq!(found, Some(document), "{place}: {id:?}");
        }
        let (found, expected) = (found.documents.len(), expected.documents.len());
        assert_eq!(found, expected, "{place}");
    }

    /// The checkpoints come to the ends, whatever is there: the last control record, an aborted
    /// transaction, nothing.
    async fn wait_for_end(&self, host: &Host, projection: &str) {
        wait::until("the checkpoints to come to the ends", async || {
            let ends = self.ends().await;
            let found = self.database.checkpoints(projection).await;
            let found = found.map_err(|error| error.to_string())?;
            let found: Vec<i64> = found.values().map(|checkpoint| checkpoint.next).collect();
            match found == ends {
                true => Ok(()),
                false => Err(format!(
                    "seed {}: {projection}: {found:?} of {ends:?}; {}",
                    self.seed,
                    host.log()
                )),
            }
        })
        .await;
    }

    async fn outcome(&self, projection: &str) -> Outcome {
        let documents = self.database.documents(projection).await;
        let parked = self.database.entry_ids("_parked", projection).await;
        let places = parked.expect("entries").into_iter().map(|id| {
            // PROJECTION/v1/STORE/TOPIC/PARTITION/FIRST/OFFSET
            let parts: Vec<&str> = id.split('/').collect();
            let number = |index: usize| parts[index].parse::<i64>().expect("a number");
            (number(4) as i32, number(6))
        });
        Outcome {
            parked: places.collect(),
            documents: documents.expect("documents"),
        }
    }
}

/// What is seen of a header whose name is not UTF-8: nothing, and its event is folded.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_name_that_is_no_text_ends_no_host() {
    let topic = Topic::create("header-names", 1).await.expect("a topic");
    let database = Database::new("hostile").await.expect("a database");
    let text = format!(
        "[kafka]\nbrokers = \"{}\"\n[stores.main]\nkind = \"mongodb\"\nuri = \"{}\"\n\
         database = \"{}\"\n[projections.mirror]\nplugin = \"{}\"\ntopics = [\"{}\"]\n",
        brokers(),
        uri(),
        database.name,
        guests::path("mirror").display(),
        topic.name,
    );
    let config = Config::new("host", &text).expect("a configuration");
    let mut host = Host::start(&config).expect("a host");

    let producer = RawProducer::new(topic.client_config()).expect("a producer");
    let record = |key: &str, headers| RawRecord {
        key: Some(key.into()),
        value: Some(b"{\"n\":1}".to_vec()),
        headers,
        ..RawRecord::default()
    };
    let name = vec![0x63, 0x61, 0x66, 0xe9];
    let records = [
        record("hostile", vec![(name, Some(b"v".to_vec()))]),
        record("friendly", Vec::new()),
    ];
    for record in &records {
        producer.send(&topic.name, record).expect("it is sent");
    }
    producer.flush().expect("they are there");

    wait::until("both to be folded", async || {
        let ended = host.has_ended().map_err(|error| error.to_string())?;
        let found = database.documents("mirror").await;
        let found = found.map_err(|error| error.to_string())?;
        let found: BTreeMap<&str, &Value> = found.iter().map(|(k, v)| (&**k, v)).collect();
        match found
            == BTreeMap::from([
                ("friendly", &json!({"n": 1})),
                ("hostile", &json!({"n": 1})),
            ]) {
            true => Ok(()),
            false => Err(format!("{found:?}, {ended:?}; {}", host.log())),
        }
    })
    .await;
    assert_eq!(host.has_ended().expect("it can be asked"), None);
    drop(host);
    database.drop().await.expect("the database is dropped");
}
