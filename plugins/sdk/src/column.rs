//! Many byte strings in one: the contract's `column`, read and built.
//!
//! Guarantee: what [`Column::push`] and [`Column::push_missing`] build, [`Column::get`] and
//! [`Column::iter`] give back, item by item, absent ones told apart from empty ones.
//! Not here: checking a column of unknown origin. The host makes the ones that a plugin reads; a
//! malformed one panics.

use std::ops::Range;
use std::str::Utf8Error;

pub(crate) use crate::bindings::projectionist::plugin::columns::Column;

/// A column of texts. Looking through all of them at once is faster than through each string in
/// each of them.
pub(crate) struct Texts<'a> {
    column: &'a Column,
    /// All of the bytes, if they are UTF-8.
    all: Option<&'a str>,
}

/// Walks a column from its first item to its last.
pub(crate) struct Items<'a> {
    column: &'a Column,
    next: usize,
    /// Where the item starts in the bytes.
    start: usize,
    /// How many missing items lie behind.
    missing_seen: usize,
}

impl Column {
    pub(crate) fn new() -> Self {
        Column {
            bytes: Vec::new(),
            ends: Vec::new(),
            missing: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.end_item();
    }

    /// Ends an item whose bytes have been written to `bytes` in place.
    pub(crate) fn end_item(&mut self) {
        let end = u32::try_from(self.bytes.len()).expect("a plugin's memory has 32-bit addresses");
        self.ends.push(end);
    }

    pub(crate) fn push_missing(&mut self) {
        let index = u32::try_from(self.len()).expect("a plugin's memory has 32-bit addresses");
        self.missing.push(index);
        self.end_item();
    }

    pub(crate) fn push_optional(&mut self, item: Option<&[u8]>) {
        match item {
            Some(item) => self.push(item),
            None => self.push_missing(),
        }
    }

    /// One item by its index; `None` where it is missing.
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let is_missing = self
            .missing
            .binary_search_by_key(&index, |&missing| missing as usize)
            .is_ok();
        (!is_missing).then(|| self.bytes_of(index))
    }

    /// One item's bytes, without asking whether it is missing (then there are none).
    pub(crate) fn bytes_of(&self, index: usize) -> &[u8] {
        &self.bytes[self.place_of(index)]
    }

    fn place_of(&self, index: usize) -> Range<usize> {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1] as usize,
        };
        start..self.ends[index] as usize
    }

    pub(crate) fn iter(&self) -> Items<'_> {
        Items {
            column: self,
            next: 0,
            start: 0,
            missing_seen: 0,
        }
    }
}

impl<'a> Texts<'a> {
    pub(crate) fn of(column: &'a Column) -> Self {
        let all = str::from_utf8(&column.bytes).ok();
        Texts { column, all }
    }

    /// One item by its index; `None` where it is missing.
    pub(crate) fn get(&self, index: usize) -> Option<Result<&'a str, Utf8Error>> {
        let bytes = self.column.get(index)?;
        // Nothing where an item ends within a character. Then neither part of it is one.
        let text = self
            .all
            .and_then(|all| all.get(self.column.place_of(index)));
        Some(text.map_or_else(|| str::from_utf8(bytes), Ok))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = *self.column.ends.get(self.next)? as usize;
        let item = &self.column.bytes[self.start..end];
        let missing = self.column.missing.get(self.missing_seen);
        let is_missing = missing.is_some_and(|&index| index as usize == self.next);
        self.missing_seen += usize::from(is_missing);
        self.next += 1;
        self.start = end;
        Some((!is_missing).then_some(item))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_pushed_comes_back(
            items in prop::collection::vec(
                prop::option::of(prop::collection::vec(any::<u8>(), 0..5)),
                0..50,
            ),
        ) {
            let mut column = Column::new();
            for item in &items {
                column.push_optional(item.as_deref());
            }

            let walked: Vec<_> = column.iter().map(|item| item.map(<[u8]>::to_vec)).collect();
            let fetched: Vec<_> = (0..column.len())
                .map(|index| column.get(index).map(<[u8]>::to_vec))
                .collect();
            prop_assert_eq!(&walked, &items);
            prop_assert_eq!(&fetched, &items);
        }
    }

    #[test]
    fn a_text_is_one_whatever_the_others_are() {
        let items: [&[u8]; 5] = ["ü".as_bytes(), b"a", b"\xff", b"\xc3", b"\xbc"];
        let texts = |range: Range<usize>| {
            let mut column = Column::new();
            for item in &items[range.clone()] {
                column.push(item);
            }
            column.push_missing();
            let texts = Texts::of(&column);
            assert!(texts.get(range.len()).is_none());
            let text = |index| texts.get(index).expect("there").ok().map(str::to_owned);
            (0..range.len()).map(text).collect::<Vec<_>>()
        };

        let (u, a) = (Some("ü".to_owned()), Some("a".to_owned()));
        assert_eq!(texts(0..2), [u.clone(), a.clone()]);
        assert_eq!(texts(0..3), [u, a, None]);
        // Together they are a character.
        assert_eq!(texts(3..5), [None, None]);
    }

    #[test]
    fn a_missing_item_repeats_the_end_before_it() {
        let mut column = Column::new();
        column.push_missing();
        column.push(b"ab");
        column.push(b"");
        column.push_missing();

        assert_eq!(column.bytes, b"ab");
        assert_eq!(column.ends, [0, 2, 2, 2]);
        assert_eq!(column.missing, [0, 3]);
    }
}
