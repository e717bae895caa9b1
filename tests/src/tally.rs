//! The guest `tally`: its events, and what it is expected to make of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kafka::{Record, Topic};
use crate::unique;

/// An event for `tally`: the id, the key, the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    pub id: String,
    pub key: String,
    pub n: i64,
}

pub fn number(key: &str, n: i64) -> Number {
    Number {
        id: unique("id"),
        key: key.to_owned(),
        n,
    }
}

impl Number {
    fn json(&self) -> Vec<u8> {
        json!({ "id": self.id, "n": self.n })
            .to_string()
            .into_bytes()
    }
}

pub fn produce(topic: &Topic, numbers: &[Number]) {
    let values: Vec<Vec<u8>> = numbers.iter().map(Number::json).collect();
    let records = numbers.iter().zip(&values).map(|(number, value)| Record {
        key: Some(&number.key),
        value: Some(value),
        id: &number.id,
    });
    topic.produce(records).expect("events are produced");
}

/// What `tally` makes of events, each folded; computed by other code than the guest's.
pub fn tally(numbers: &[Number]) -> BTreeMap<String, Value> {
    let mut documents: BTreeMap<String, (u64, i64, i64)> = BTreeMap::new();
    for Number { key, n, .. } in numbers {
        let (count, sum, chain) = documents.entry(key.clone()).or_default();
        *count += 1;
        *sum += n;
        *chain = chain.wrapping_mul(31).wrapping_add(*n);
    }
    let document =
        |(key, (count, sum, chain))| (key, json!({ "count": count, "sum": sum, "chain": chain }));
    documents.into_iter().map(document).collect()
}
