//! What is asked of a view as a whole: a few documents of a range, in the order of an index.
//!
//! An index orders a view by the values of its fields and then by the ids, so that no two
//! documents stand in the same place, and a page goes on exactly behind the last one. Values of one
//! type are in their own order. Where a field has values of several types, or is missing from some
//! documents, those that lack it come first, and the order of the types is the store's.
//!
//! A field of an index has one value in each document. One that has a list is found by some of
//! its items in some stores, and by none in others.

use std::fmt;
use std::sync::Arc;

use bson::raw::{RawBson, RawBsonRef, RawDocument, RawDocumentBuf};

/// The name that stands for the ids, which are in order without any index.
pub const ID: &str = "_id";

/// Fields by which documents are found, as paths with dots between the names. Without any, it
/// stands for the ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Index(Arc<[Arc<str>]>);

/// A path of fields is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no field to index; write names of ASCII letters, digits, underscores and hyphens, \
     with dots between the levels"
)]
pub struct NoField(String);

/// A page of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    pub index: Index,
    /// The values of the index's first fields.
    pub equal: Vec<RawBson>,
    /// Of the field behind those: the first of [`List::order`].
    pub range: Range,
    pub direction: Direction,
    /// Where the page before this one ended: a value for each of [`List::order`].
    pub after: Option<Vec<RawBson>>,
    /// At least 1.
    pub limit: usize,
}

/// Values between two ends, of the type of those.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    pub from: Option<Bound>,
    pub to: Option<Bound>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub value: RawBson,
    /// Whether the value itself is within.
    pub inclusive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// Documents in their stored form, in the order that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Fewer than the limit where they are large.
    pub documents: Vec<RawDocumentBuf>,
    /// Whether there are documents behind these.
    pub more: bool,
}

/// What a page holds at most, but for one document.
pub const PAGE_BYTES_MAX: usize = 4 << 20;

impl Index {
    /// The order of the ids.
    pub fn ids() -> Self {
        Index(Arc::new([]))
    }

    pub fn new<'f>(fields: impl IntoIterator<Item = &'f str>) -> Result<Self, NoField> {
        let fields: Result<Arc<[Arc<str>]>, _> = fields.into_iter().map(check_path).collect();
        fields.map(Index)
    }

    pub fn fields(&self) -> &[Arc<str>] {
        &self.0
    }

    /// Its name in a store.
    pub(super) fn name(&self) -> String {
        format!("by {self}")
    }
}

fn check_path(path: &str) -> Result<Arc<str>, NoField> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name = |name: &str| !name.is_empty() && name.chars().all(legal);
    let of_host = path
        .split('.')
        .next()
        .is_some_and(|first| ["_id", "_m"].contains(&first));
    if of_host || !path.split('.').all(name) {
        return Err(NoField(path.to_owned()));
    }
    Ok(path.into())
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(ID);
        }
        f.write_str(&self.0.join(", "))
    }
}

impl List {
    /// The fields by which the page is in order: the rest of the index, and the ids.
    pub fn order(&self) -> impl Iterator<Item = &str> {
        let rest = self.index.0.iter().skip(self.equal.len());
        rest.map(|field| &**field).chain([ID])
    }

    /// Where a stored document stands: a value for each of [`List::order`].
    pub fn place(&self, sealed: &RawDocument) -> Vec<RawBson> {
        let value = |path| value_at(sealed, path).map_or(RawBson::Null, RawBson::from);
        self.order().map(value).collect()
    }
}

/// The value at a path; `None` where there is none.
fn value_at<'d>(document: &'d RawDocument, path: &str) -> Option<RawBsonRef<'d>> {
    let mut found = RawBsonRef::Document(document);
    for name in path.split('.') {
        let RawBsonRef::Document(document) = found else {
            return None;
        };
        found = document.get(name).ok()??;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn paths_are_indexed_that_every_store_takes() {
        for path in ["a", "a.b-c", "A_1.x"] {
            assert!(Index::new([path]).is_ok(), "{path}");
        }
        for path in [
            "", ".", "a.", "a..b", "$a", "a b", "a\"", "_id", "_m.rev", "\u{e4}",
        ] {
            assert!(Index::new([path]).is_err(), "{path}");
        }
    }

    #[test]
    fn a_document_stands_where_its_values_are() {
        let list = List {
            index: Index::new(["a", "b.c", "d"]).expect("fields"),
            equal: vec![RawBson::Int64(1)],
            range: Range::default(),
            direction: Direction::Ascending,
            after: None,
            limit: 1,
        };
        assert_eq!(list.order().collect::<Vec<_>>(), ["b.c", "d", "_id"]);
        let sealed = rawdoc! { "_id": "x", "a": 1_i64, "b": { "c": "y" } };
        let place = list.place(&sealed);
        let text = |text: &str| RawBson::String(text.to_owned());
        assert_eq!(place, [text("y"), RawBson::Null, text("x")]);
    }
}
