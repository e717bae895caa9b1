//! What the store must hold: the topic, folded once more, one record after the other.
//!
//! Guarantee: no code is shared with the plugins, and nothing is taken from the host. What the two
//! agree on is the description of the documents at the top of the plugins' pages.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use bson::raw::{RawDocumentBuf, cstr};
use bson::rawdoc;
use serde_json::Value;

use super::events::Hazards;

/// One record of the topic, as a plain consumer reads it.
#[derive(Clone, Debug)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    /// Of the header.
    pub id: String,
    pub value: Vec<u8>,
}

/// What a projection must have stored.
#[derive(Debug, Default)]
pub struct Expected {
    /// By document id.
    pub documents: BTreeMap<String, Document>,
    /// The offsets of parked events by partition and key, in their order.
    pub parked: BTreeMap<(i32, String), Vec<i64>>,
}

/// One document that must be stored.
#[derive(Clone, Debug)]
pub struct Document {
    /// Without `_id` and `_m`.
    pub body: RawDocumentBuf,
    /// The last event that shaped it, by partition. Which of the partitions was last is not
    /// determined; within one it is.
    pub last: BTreeMap<i32, i64>,
}

/// What both projections must have stored.
#[derive(Debug, Default)]
pub struct Books {
    pub accounts: Expected,
    pub statements: Expected,
}

impl Books {
    /// How many events must be parked, over both projections.
    pub fn parked(&self) -> usize {
        let parked = [&self.accounts, &self.statements].map(|expected| &expected.parked);
        let offsets = parked.into_iter().flat_map(BTreeMap::values);
        offsets.map(Vec::len).sum()
    }
}

#[derive(Default)]
struct Account {
    balance: i64,
    count: i64,
    chains: BTreeMap<i32, (i64, u64)>,
    last: BTreeMap<i32, i64>,
}

#[derive(Default)]
struct Statement {
    paid: i64,
    count: i64,
    chain: u64,
    last_id: String,
    last: BTreeMap<i32, i64>,
}

/// Folds all records of a topic, given in the order of their offsets within each partition.
///
/// # Errors
///
/// A record that is not one that the ledger produces.
pub fn fold(records: &[Record], hazards: Hazards) -> anyhow::Result<Books> {
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    let mut statements: BTreeMap<String, Statement> = BTreeMap::new();
    let mut parked: BTreeMap<(i32, String), Vec<i64>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for record in records {
        if hazards.duplicates && !seen.insert((record.partition, record.id.as_str())) {
            continue;
        }
        let transfer: Value = serde_json::from_slice(&record.value)?;
        let text = |field: &str| {
            let text = transfer[field].as_str().map(str::to_owned);
            text.with_context(|| format!("{record:?} has no text \"{field}\""))
        };
        let (from, to, id) = (text("from")?, text("to")?, text("id")?);
        let cents = transfer["cents"].as_i64().context("cents are a number")?;
        let key = (record.partition, record.key.clone());
        // What no projection takes waits, and what comes after it waits behind it.
        if cents == 0 || parked.contains_key(&key) {
            parked.entry(key).or_default().push(record.offset);
            continue;
        }
        let payer = accounts.entry(from.clone()).or_default();
        payer.book(record, &id, -cents);
        accounts.entry(to).or_default().book(record, &id, cents);
        let statement = statements.entry(from).or_default();
        statement.paid += cents;
        statement.count += 1;
        statement.chain = link(statement.chain, &id, cents);
        statement.last_id = id;
        statement.last.insert(record.partition, record.offset);
    }
    Ok(Books {
        accounts: Expected {
            documents: each(accounts, Account::document),
            parked: parked.clone(),
        },
        statements: Expected {
            documents: each(statements, Statement::document),
            parked,
        },
    })
}

impl Account {
    fn book(&mut self, record: &Record, id: &str, change: i64) {
        self.balance += change;
        self.count += 1;
        let (count, chain) = self.chains.entry(record.partition).or_default();
        *count += 1;
        *chain = link(*chain, id, change);
        self.last.insert(record.partition, record.offset);
    }

    fn document(self) -> Document {
        let mut chains = RawDocumentBuf::new();
        for (partition, (count, chain)) in self.chains {
            let link = rawdoc! { "count": count, "chain": format!("{chain:016x}") };
            let name = bson::raw::CString::try_from(partition.to_string())
                .expect("a number has no null byte");
            chains.append(name, link);
        }
        let mut body = RawDocumentBuf::new();
        body.append(cstr!("balance"), self.balance);
        body.append(cstr!("count"), self.count);
        body.append(cstr!("chains"), chains);
        Document {
            body,
            last: self.last,
        }
    }
}

impl Statement {
    fn document(self) -> Document {
        let body = rawdoc! {
            "paid": self.paid,
            "count": self.count,
            "chain": format!("{:016x}", self.chain),
            "last": self.last_id,
        };
        Document {
            body,
            last: self.last,
        }
    }
}

fn each<T>(map: BTreeMap<String, T>, make: fn(T) -> Document) -> BTreeMap<String, Document> {
    map.into_iter().map(|(id, each)| (id, make(each))).collect()
}

/// FNV-1a, 64 bits (draft-eastlake-fnv), over the chain before, the id and the cents.
fn link(before: u64, id: &str, cents: i64) -> u64 {
    let mut bytes = before.to_le_bytes().to_vec();
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(&cents.to_le_bytes());
    fnv1a(&bytes)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 14_695_981_039_346_656_037;
    const PRIME: u64 = 1_099_511_628_211;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Hazards = Hazards {
        duplicates: true,
        poison: true,
    };

    fn record(offset: i64, id: &str, key: &str, to: &str, cents: i64) -> Record {
        let value = serde_json::json!({ "id": id, "from": key, "to": to, "cents": cents });
        Record {
            partition: 1,
            offset,
            key: key.to_owned(),
            id: id.to_owned(),
            value: value.to_string().into_bytes(),
        }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_transfer_is_in_two_accounts_and_one_statement() {
        let books = fold(&[record(4, "t", "a", "b", 7)], ALL).expect("a transfer");
        let balance = |id: &str| {
            let body = &books.accounts.documents[id].body;
            body.get_i64("balance").expect("a number")
        };
        assert_eq!((balance("a"), balance("b")), (-7, 7));
        assert_eq!(books.accounts.documents["b"].last, BTreeMap::from([(1, 4)]));
        let statements: Vec<&String> = books.statements.documents.keys().collect();
        assert_eq!(statements, ["a"]);
    }

    #[test]
    fn a_repeated_event_counts_once_and_where_it_may_not_repeat_twice() {
        let records = [record(0, "t", "a", "b", 7), record(1, "t", "a", "b", 7)];
        let count = |hazards| {
            let books = fold(&records, hazards).expect("transfers");
            let body = &books.statements.documents["a"].body;
            body.get_i64("count").expect("a number")
        };
        assert_eq!(count(ALL), 1);
        let unexpected = Hazards {
            duplicates: false,
            ..ALL
        };
        assert_eq!(count(unexpected), 2);
    }

    #[test]
    fn poison_parks_the_later_events_of_its_key_and_no_others() {
        let records = [
            record(0, "t0", "a", "b", 1),
            record(1, "t1", "a", "b", 0),
            record(2, "t2", "b", "a", 1),
            record(3, "t3", "a", "b", 1),
            record(4, "t3", "a", "b", 1),
        ];
        let books = fold(&records, ALL).expect("transfers");
        let parked = BTreeMap::from([((1, "a".to_owned()), vec![1, 3])]);
        assert_eq!(books.accounts.parked, parked);
        assert_eq!(books.statements.parked, parked);
        let count = |id: &str| {
            let body = &books.accounts.documents[id].body;
            body.get_i64("count").expect("a number")
        };
        assert_eq!((count("a"), count("b")), (2, 2));
    }
}
