//! Where each key was written, for whoever finds something wrong after the configuration was read.

use std::collections::BTreeMap;
use std::fmt;

use super::problem::{KeyPath, Place};
use super::tree::{Table, Value};

/// The places of all keys. Where something was written makes no other configuration of it.
#[derive(Clone, Default)]
pub(super) struct Places(BTreeMap<KeyPath, Place>);

/// A key that was written, and its place: `p.toml:3:1: projections.orders.view`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// `None` where neither the key nor a section that it would be in was written.
    pub place: Option<Place>,
    pub key: KeyPath,
}

impl Places {
    pub(super) fn of(root: &Table) -> Self {
        let mut places = Places::default();
        places.note(&KeyPath::default(), root);
        places
    }

    pub(super) fn of_key<'k>(&self, key: impl IntoIterator<Item = &'k str>) -> Written {
        let names: Vec<String> = key.into_iter().map(str::to_owned).collect();
        let sections = (1..=names.len()).rev();
        let mut sections = sections.map(|len| KeyPath(names[..len].to_vec()));
        let written = sections.find_map(|key| Some((self.0.get(&key)?.clone(), key)));
        match written {
            Some((place, key)) => Written {
                place: Some(place),
                key,
            },
            None => Written {
                place: None,
                key: KeyPath(names),
            },
        }
    }

    fn note(&mut self, parent: &KeyPath, table: &Table) {
        for entry in &table.0 {
            let key = parent.child(&entry.name);
            let place = match entry.node.typed() {
                Value::Table(inner) => {
                    self.note(&key, inner);
                    &entry.place
                }
                _ => &entry.node.place,
            };
            self.0.insert(key, place.clone());
        }
    }
}

impl PartialEq for Places {
    fn eq(&self, _: &Places) -> bool {
        true
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}", self.key)
    }
}
