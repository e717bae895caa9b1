//! Compares what is stored with what must be, and says what kind of difference it is.
//!
//! A chain with fewer links than expected has lost events, one with more has some twice; as many
//! links that are not the expected ones are in another order. Bodies are compared byte by byte, so
//! that a difference that no chain shows is found as well.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};

use super::fold::Expected;

/// A document of a view, as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Without `_id` and `_m`.
    pub body: RawDocumentBuf,
    /// `_m.at`: the last event that shaped it.
    pub partition: i32,
    pub offset: i64,
}

/// What a projection has stored.
#[derive(Debug, Default)]
pub struct Found {
    pub documents: BTreeMap<String, Stored>,
    /// The offsets of parked events by partition and key, in the order in which they are kept.
    pub parked: BTreeMap<(i32, String), Vec<i64>>,
}

/// How far two states are apart; all zero where they are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Events that shaped no document, though they had to.
    pub lost: u64,
    /// Events that shaped a document more often than once, or one that should not be there.
    pub duplicated: u64,
    /// Chains of the right length in another order.
    pub reordered: u64,
    /// Documents that are missing, should not be there, or have another body or provenance.
    pub documents: u64,
    /// The first of them in words.
    pub notes: Vec<String>,
}

/// How many differences are put into words.
const NOTES_MAX: usize = 20;

/// A chain: how many links it has, and what is at its end.
type Chain = (i64, String);

impl Stored {
    /// Takes a document of a view apart.
    ///
    /// # Errors
    ///
    /// One that has no text as `_id`, or no place in `_m`.
    pub fn read(document: &RawDocument) -> anyhow::Result<(String, Stored)> {
        let id = document.get_str("_id")?.to_owned();
        let at = document.get_document("_m")?.get_document("at")?;
        let mut body = RawDocumentBuf::new();
        for element in document {
            let (name, value) = element?;
            if name != "_id" && name != "_m" {
                body.append(name, value);
            }
        }
        let stored = Stored {
            body,
            partition: at.get_i32("partition")?,
            offset: at.get_i64("offset")?,
        };
        Ok((id, stored))
    }
}

impl Differences {
    /// Adds those of another view.
    pub fn add(&mut self, other: Differences) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.documents += other.documents;
        for note in other.notes {
            self.note(note);
        }
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    fn chain(&mut self, what: &str, expected: &Chain, stored: &Chain) {
        let (wanted, found) = (expected.0, stored.0);
        if found < wanted {
            self.lost += wanted.abs_diff(found);
            self.note(format!("{what}: {found} events of {wanted}"));
        } else if found > wanted {
            self.duplicated += wanted.abs_diff(found);
            self.note(format!("{what}: {found} events, and not {wanted}"));
        } else if expected != stored {
            self.reordered += 1;
            self.note(format!(
                "{what}: its {wanted} events are not in their order"
            ));
        }
    }
}

/// Compares a view and what is parked.
///
/// # Errors
///
/// A document whose chains cannot be read. Whoever writes such a one is no ledger plugin.
pub fn compare(view: &str, expected: &Expected, found: &Found) -> anyhow::Result<Differences> {
    let mut differences = Differences::default();
    let ids: BTreeSet<&String> = expected
        .documents
        .keys()
        .chain(found.documents.keys())
        .collect();
    for id in ids {
        let what = format!("{view}/{id}");
        let (wanted, stored) = (expected.documents.get(id), found.documents.get(id));
        let wanted_chains = match wanted {
            Some(wanted) => chains(&wanted.body)?,
            None => BTreeMap::new(),
        };
        let stored_chains = match stored {
            Some(stored) => chains(&stored.body).with_context(|| format!("document {what}"))?,
            None => BTreeMap::new(),
        };
        let none = (0, String::new());
        let names: BTreeSet<&String> = wanted_chains.keys().chain(stored_chains.keys()).collect();
        for name in names {
            let wanted = wanted_chains.get(name).unwrap_or(&none);
            let stored = stored_chains.get(name).unwrap_or(&none);
            differences.chain(&format!("{what} {name}"), wanted, stored);
        }
        let difference = match (wanted, stored) {
            (Some(wanted), Some(stored)) if wanted.body != stored.body => {
                Some("its body is another one")
            }
            (Some(wanted), Some(stored))
                if wanted.last.get(&stored.partition) != Some(&stored.offset) =>
            {
                Some("its _m.at is not the last event that shaped it")
            }
            (Some(_), Some(_)) | (None, None) => None,
            (Some(_), None) => Some("it is missing"),
            (None, Some(_)) => Some("no event shaped it"),
        };
        if let Some(difference) = difference {
            differences.documents += 1;
            differences.note(format!("{what}: {difference}"));
        }
    }
    compare_parked(view, expected, found, &mut differences);
    Ok(differences)
}

fn compare_parked(view: &str, expected: &Expected, found: &Found, differences: &mut Differences) {
    let keys: BTreeSet<&(i32, String)> =
        expected.parked.keys().chain(found.parked.keys()).collect();
    for key in keys {
        let none = Vec::new();
        let wanted = expected.parked.get(key).unwrap_or(&none);
        let parked = found.parked.get(key).unwrap_or(&none);
        if wanted == parked {
            continue;
        }
        let what = format!("parked by {view}, partition {}, key {}", key.0, key.1);
        differences.note(format!("{what}: {parked:?}, and not {wanted:?}"));
        let lost = wanted.iter().filter(|&offset| !parked.contains(offset));
        let lost = lost.count() as u64;
        let distinct: BTreeSet<&i64> = wanted.iter().filter(|o| parked.contains(o)).collect();
        let duplicated = (parked.len() - distinct.len()) as u64;
        differences.lost += lost;
        differences.duplicated += duplicated;
        if lost == 0 && duplicated == 0 {
            differences.reordered += 1;
        }
    }
}

/// The chains of a document by partition, or the only one under no name.
fn chains(body: &RawDocument) -> anyhow::Result<BTreeMap<String, Chain>> {
    let link = |document: &RawDocument| -> anyhow::Result<Chain> {
        Ok((
            document.get_i64("count")?,
            document.get_str("chain")?.to_owned(),
        ))
    };
    if body.get("chain")?.is_some() {
        return Ok(BTreeMap::from([(String::new(), link(body)?)]));
    }
    let mut chains = BTreeMap::new();
    for element in body.get_document("chains")? {
        let (name, value) = element?;
        let RawBsonRef::Document(chain) = value else {
            anyhow::bail!("chain {name} is {value:?}");
        };
        chains.insert(name.to_string(), link(chain)?);
    }
    Ok(chains)
}

#[cfg(test)]
mod tests;
