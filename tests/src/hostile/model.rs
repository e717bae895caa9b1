//! What has to become of records, by the documentation alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::raw::RawRecord;

/// A record as the topic has it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub offset: i64,
    pub record: RawRecord,
}

/// What a projection comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub documents: BTreeMap<String, Value>,
    /// By partition and offset.
    pub parked: BTreeSet<(i32, i64)>,
}

/// What to do with one event.
enum Verdict {
    Fold,
    Reject,
}

/// Folds the records of each partition, oldest first. `fold` says whether an event can be folded,
/// and folds it; one that cannot is parked, and so are the later ones of its key.
fn fold_all(
    partitions: &BTreeMap<i32, Vec<Stored>>,
    mut fold: impl FnMut(i32, &Stored, &mut BTreeMap<String, Value>) -> Verdict,
) -> Outcome {
    let mut outcome = Outcome::default();
    for (&partition, records) in partitions {
        let mut parked_keys: BTreeSet<&[u8]> = BTreeSet::new();
        for stored in records {
            let key = stored.record.key.as_deref();
            let behind = key.is_some_and(|key| parked_keys.contains(key));
            if !behind {
                match fold(partition, stored, &mut outcome.documents) {
                    Verdict::Fold => continue,
                    Verdict::Reject => parked_keys.extend(key),
                }
            }
            outcome.parked.insert((partition, stored.offset));
        }
    }
    outcome
}

/// `mirror`: the last value of each key.
///
/// Half of a surrogate pair passes the plugin, which reads no text, and not the host. What a batch
/// makes of a document is looked at once, at the batch's end; so such an event is parked unless a
/// later one of its key was folded in the same batch. Which batches there were, nobody knows: where
/// it is not among those that were `parked`, its document is one that no store has, and stays so
/// unless the next event of its key is folded.
pub fn mirror(partitions: &BTreeMap<i32, Vec<Stored>>, parked: &BTreeSet<(i32, i64)>) -> Outcome {
    fold_all(partitions, |partition, stored, documents| {
        let Stored { offset, record } = stored;
        let key = record.key.as_deref().map(std::str::from_utf8);
        let Some(Ok(key)) = key else {
            return Verdict::Reject;
        };
        let Some(value) = record.value.as_deref() else {
            documents.remove(key);
            return Verdict::Fold;
        };
        match serde_json::from_slice::<Value>(value) {
            Ok(object @ Value::Object(_)) => {
                documents.insert(key.to_owned(), object);
                Verdict::Fold
            }
            Err(_) if passes_unread(value) && !parked.contains(&(partition, *offset)) => {
                documents.insert(key.to_owned(), Value::Null);
                Verdict::Fold
            }
            Ok(_) | Err(_) => Verdict::Reject,
        }
    })
}

/// Whether it is an object to a reader that looks at no text in it.
fn passes_unread(value: &[u8]) -> bool {
    value.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(value).is_ok()
}

/// The guest `tally`: of each key how many numbers it got, their sum, and a chain over their order; a
/// negative one is rejected.
pub fn tally(partitions: &BTreeMap<i32, Vec<Stored>>) -> Outcome {
    fold_all(partitions, |_, Stored { record, .. }, documents| {
        let key = record.key.as_deref().map(std::str::from_utf8);
        let Some(Ok(key)) = key else {
            return Verdict::Reject;
        };
        let Some(value) = record.value.as_deref() else {
            documents.remove(key);
            return Verdict::Fold;
        };
        let value = serde_json::from_slice::<Value>(value).ok();
        // A list of its fields is a record as well, by the library that the guest reads JSON with.
        let field = |value: Value| value.get("n").or_else(|| value.get(0))?.as_i64();
        let number = value.and_then(field);
        let Some(number) = number.filter(|number| *number >= 0) else {
            return Verdict::Reject;
        };
        let before = documents.get(key);
        let field = |name: &str| before.and_then(|found| found[name].as_i64()).unwrap_or(0);
        let document = json!({
            "count": field("count") + 1,
            "sum": field("sum") + number,
            "chain": field("chain").wrapping_mul(31).wrapping_add(number),
        });
        documents.insert(key.to_owned(), document);
        Verdict::Fold
    })
}
