//! Pages of views, each from one index.
//!
//! The first page is found by the filter. A later one starts at a place in the index (`min` or
//! `max`), so that it takes no longer than the first one, and is right whatever types the values
//! are of: a comparison in a filter would only see values of one type.

use std::ops::ControlFlow;
use std::time::Duration;

use bson::raw::{CStr, RawArrayBuf, RawBson, RawDocumentBuf, cstr};
use bson::{Bson, Document, doc, rawdoc};

use super::MongoStore;
use super::error::Failure;
use crate::store::list::{Bound, Direction, ID, Index, List, PAGE_BYTES_MAX, Page};
use crate::store::{Error, ViewId};

/// An index of a large collection takes its time, and goes on where nobody waits.
const BUILD_TIMEOUT: Duration = Duration::from_mins(10);

/// The end of an index, beyond all values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Low,
    High,
}

impl MongoStore {
    pub(super) async fn create_indexes(
        &self,
        view: &ViewId,
        indexes: &[Index],
    ) -> Result<(), Error> {
        if indexes.is_empty() {
            return Ok(());
        }
        let specifications: Vec<Document> = indexes
            .iter()
            .map(|index| {
                let fields = index.fields().iter().map(|field| (field.to_string(), 1));
                let key: Document = fields
                    .chain([(ID.to_owned(), 1)])
                    .map(|(field, order)| (field, Bson::Int32(order)))
                    .collect();
                doc! { "key": key, "name": index.name() }
            })
            .collect();
        let create = doc! { "createIndexes": view.collection(), "indexes": specifications };
        let created = self.operations.ask(BUILD_TIMEOUT, |database| async move {
            database.run_command(create).await
        });
        created
            .await
            .map(drop)
            .map_err(|failure| failure.at(&self.place("create indexes")))
    }

    pub(super) async fn list_documents(&self, view: &ViewId, list: &List) -> Result<Page, Error> {
        let mut find = self.reading(&view.collection(), filter(list));
        find.append(cstr!("hint"), keys(list, 1));
        let order = match list.direction {
            Direction::Ascending => 1,
            Direction::Descending => -1,
        };
        find.append(cstr!("sort"), keys(list, order));
        if let Some(after) = &list.after {
            let (low, high) = bounds(list, after);
            find.append(cstr!("min"), low);
            find.append(cstr!("max"), high);
        }
        // One more tells whether there are more.
        let asked = list.limit.saturating_add(1);
        find.append(cstr!("limit"), i64::try_from(asked).unwrap_or(i64::MAX));
        let mut page = Page {
            documents: Vec::new(),
            more: false,
        };
        let mut bytes = 0;
        let read = self.read(find, |document| {
            if page.documents.len() == list.limit || bytes >= PAGE_BYTES_MAX {
                page.more = true;
                return Ok(ControlFlow::Break(()));
            }
            bytes += document.as_bytes().len();
            page.documents.push(document.to_owned());
            Ok(ControlFlow::Continue(()))
        });
        read.await
            .map_err(|failure: Failure| failure.at_read(&self.place("list documents")))?;
        Ok(page)
    }
}

/// All keys of the index, in this order.
fn keys(list: &List, order: i32) -> RawDocumentBuf {
    let mut keys = RawDocumentBuf::new();
    for field in list.index.fields() {
        keys.append(name(field), order);
    }
    keys.append(cstr!("_id"), order);
    keys
}

fn filter(list: &List) -> RawDocumentBuf {
    let mut conditions = RawArrayBuf::new();
    let mut add = |field: &str, operator: &CStr, value: &RawBson| {
        let mut comparison = RawDocumentBuf::new();
        comparison.append(operator, value.clone());
        let mut condition = RawDocumentBuf::new();
        condition.append(name(field), comparison);
        conditions.push(condition);
    };
    for (field, value) in list.index.fields().iter().zip(&list.equal) {
        add(field, cstr!("$eq"), value);
    }
    let ranged = list.order().next().unwrap_or(ID);
    if let Some(Bound { value, inclusive }) = &list.range.from {
        let operator = if *inclusive {
            cstr!("$gte")
        } else {
            cstr!("$gt")
        };
        add(ranged, operator, value);
    }
    if let Some(Bound { value, inclusive }) = &list.range.to {
        let operator = if *inclusive {
            cstr!("$lte")
        } else {
            cstr!("$lt")
        };
        add(ranged, operator, value);
    }
    // The document that the page before ended with is at the very start of this one.
    if let Some(id) = list.after.as_ref().and_then(|after| after.last()) {
        add(ID, cstr!("$ne"), id);
    }
    if conditions.is_empty() {
        return RawDocumentBuf::new();
    }
    rawdoc! { "$and": conditions }
}

/// The part of the index behind a place: its first key, and the first one that is not in it.
fn bounds(list: &List, after: &[RawBson]) -> (RawDocumentBuf, RawDocumentBuf) {
    let place = key(list, after, End::Low);
    match list.direction {
        Direction::Ascending => {
            let (end, rest) = match &list.range.to {
                None => (&[][..], End::High),
                Some(Bound { value, inclusive }) => {
                    let rest = if *inclusive { End::High } else { End::Low };
                    (std::slice::from_ref(value), rest)
                }
            };
            (place, key(list, end, rest))
        }
        Direction::Descending => {
            let (end, rest) = match &list.range.from {
                None => (&[][..], End::Low),
                Some(Bound { value, inclusive }) => {
                    let rest = if *inclusive { End::Low } else { End::High };
                    (std::slice::from_ref(value), rest)
                }
            };
            (key(list, end, rest), place)
        }
    }
}

/// A key of the index: the equal values, then these, then the end of all others.
fn key(list: &List, values: &[RawBson], rest: End) -> RawDocumentBuf {
    let mut known = list.equal.iter().chain(values);
    let fields = list.index.fields().iter().map(|field| &**field);
    let mut key = RawDocumentBuf::new();
    for field in fields.chain([ID]) {
        let value = match (known.next(), rest) {
            (Some(value), _) => value.clone(),
            (None, End::Low) => RawBson::MinKey,
            (None, End::High) => RawBson::MaxKey,
        };
        key.append(name(field), value);
    }
    key
}

fn name(field: &str) -> &CStr {
    field
        .try_into()
        .expect("the fields of an index are checked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::list::Range;

    fn list(direction: Direction, range: Range) -> List {
        List {
            index: Index::new(["a", "b"]).expect("fields"),
            equal: vec![RawBson::Int64(1)],
            range,
            direction,
            after: None,
            limit: 10,
        }
    }

    #[test]
    fn a_page_starts_at_its_place_and_ends_at_its_range() {
        let place = [RawBson::Int64(5), RawBson::String("x".to_owned())];
        let here = rawdoc! { "a": 1_i64, "b": 5_i64, "_id": "x" };
        let bound = |value: i64, inclusive| {
            let value = RawBson::Int64(value);
            Some(Bound { value, inclusive })
        };
        let up = |to| list(Direction::Ascending, Range { from: None, to });
        let down = |from| list(Direction::Descending, Range { from, to: None });
        let end = |b: RawBson, id: RawBson| rawdoc! { "a": 1_i64, "b": b, "_id": id };
        let (min, max) = (|| RawBson::MinKey, || RawBson::MaxKey);
        let nine = || RawBson::Int64(9);
        let ascending = [
            (up(None), end(max(), max())),
            (up(bound(9, true)), end(nine(), max())),
            (up(bound(9, false)), end(nine(), min())),
        ];
        for (list, expected) in ascending {
            assert_eq!(bounds(&list, &place), (here.clone(), expected));
        }
        let descending = [
            (down(None), end(min(), min())),
            (down(bound(9, true)), end(nine(), min())),
            (down(bound(9, false)), end(nine(), max())),
        ];
        for (list, expected) in descending {
            assert_eq!(bounds(&list, &place), (expected, here.clone()));
        }
    }

    #[test]
    fn a_view_without_conditions_is_listed_whole() {
        let mut all = list(Direction::Ascending, Range::default());
        all.index = Index::ids();
        all.equal = Vec::new();
        assert_eq!(filter(&all), RawDocumentBuf::new());
        assert_eq!(keys(&all, -1), rawdoc! { "_id": -1 });
    }
}
