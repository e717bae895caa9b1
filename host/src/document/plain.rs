//! A look at BSON that costs little: whether a document is valid, where it has common types only.
//!
//! Guarantee: what is called valid here, the library calls valid too, to the last element. What
//! cannot be told here is for the library to tell.

use super::repeats::{self, Seen as Prints};
use super::{DEPTH_MAX, RESERVED_FIELDS};

/// What a look has shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Valid,
    /// It has this field of the host's.
    Reserved(&'static str),
    /// It is not valid, or has rarer types, a name twice, or one that starts with a dollar.
    Unclear,
}

/// Looks through a whole document.
pub(super) fn look(bytes: &[u8]) -> Seen {
    let mut reserved = None;
    let is_reserved = |name: &[u8]| {
        reserved = reserved.or(RESERVED_FIELDS.iter().find(|f| f.as_bytes() == name));
    };
    match document(bytes, 0, is_reserved) {
        Some([]) => reserved.map_or(Seen::Valid, |field| Seen::Reserved(field)),
        Some(_) | None => Seen::Unclear,
    }
}

/// Goes through the document that the bytes begin with, and gives those behind it.
fn document(bytes: &[u8], depth: usize, mut field: impl FnMut(&[u8])) -> Option<&[u8]> {
    let len = usize::try_from(i32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let (document, behind) = bytes.split_at_checked(len)?;
    let [_, _, _, _, elements @ .., 0] = document else {
        return None;
    };
    let (mut seen, mut is_repeated) = (Prints::default(), false);
    let mut rest = elements;
    while let [kind, element @ ..] = rest {
        let (name, value) = name(element)?;
        if name.first() == Some(&b'$') {
            return None;
        }
        field(name);
        is_repeated |= seen.add(repeats::print(name));
        rest = behind_value(*kind, value, depth)?;
    }
    // The prints of different names may be taken for the same.
    (!is_repeated || !repeats_name(elements)?).then_some(behind)
}

/// Whether one of the elements, which are valid, has the name of another.
fn repeats_name(elements: &[u8]) -> Option<bool> {
    let mut names = Vec::new();
    let mut rest = elements;
    while let [kind, element @ ..] = rest {
        let (name, value) = name(element)?;
        names.push((repeats::print(name), name));
        rest = value.get(len(*kind, value)?..)?;
    }
    Some(repeats::exist(&names, |name| name.0, |name| name.1))
}

/// How many bytes a value has that is valid.
fn len(kind: u8, value: &[u8]) -> Option<usize> {
    let prefix = || usize::try_from(i32::from_le_bytes(*value.first_chunk()?)).ok();
    match kind {
        0x02 => prefix()?.checked_add(4),
        0x03 | 0x04 => prefix(),
        0x08 => Some(1),
        0x0a => Some(0),
        0x10 => Some(4),
        _ => Some(8),
    }
}

/// The same for an array, whose names are indices that nobody reads.
fn array(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let len = usize::try_from(i32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let (array, behind) = bytes.split_at_checked(len)?;
    let [_, _, _, _, items @ .., 0] = array else {
        return None;
    };
    let mut rest = items;
    while let [kind, item @ ..] = rest {
        rest = behind_value(*kind, name(item)?.1, depth)?;
    }
    Some(behind)
}

/// Splits what comes behind an element's type.
fn name(element: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut all = 0;
    for (end, &byte) in element.iter().enumerate() {
        if byte == 0 {
            let name = &element[..end];
            let is_text = all < 0x80 || str::from_utf8(name).is_ok();
            return is_text.then(|| (name, &element[end + 1..]));
        }
        all |= byte;
    }
    None
}

/// Gives the bytes behind a value that is valid.
fn behind_value(kind: u8, value: &[u8], depth: usize) -> Option<&[u8]> {
    match kind {
        // A string: its length with a null, its text, the null.
        0x02 => {
            let (len, rest) = value.split_first_chunk()?;
            let len = usize::try_from(i32::from_le_bytes(*len)).ok()?;
            let (text, behind) = rest.split_at_checked(len)?;
            let [text @ .., 0] = text else {
                return None;
            };
            str::from_utf8(text).ok().map(|_| behind)
        }
        0x03 if depth < DEPTH_MAX => document(value, depth + 1, |_| {}),
        0x04 if depth < DEPTH_MAX => array(value, depth + 1),
        // A boolean.
        0x08 => match value {
            [0 | 1, behind @ ..] => Some(behind),
            _ => None,
        },
        // Null.
        0x0a => Some(value),
        // A 32-bit integer.
        0x10 => value.get(4..),
        // A double, a date, a 64-bit integer.
        0x01 | 0x09 | 0x12 => value.get(8..),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::RawDocumentBuf;
    use bson::rawdoc;
    use proptest::prelude::*;

    use super::*;
    use crate::document::validate;

    fn plain() -> RawDocumentBuf {
        rawdoc! {
            "n": 1_i64, "i": 2, "d": 0.5, "t": true, "z": null, "s": "ü",
            "at": bson::DateTime::from_millis(1),
            "l": [1, ["x", {}]],
            "ü": { "o": { "k": "v" } },
        }
    }

    #[test]
    fn common_types_are_told_at_once() {
        assert_eq!(look(plain().as_bytes()), Seen::Valid);
        assert_eq!(look(rawdoc! {}.as_bytes()), Seen::Valid);
        let binary = bson::Binary {
            subtype: bson::spec::BinarySubtype::Generic,
            bytes: vec![1],
        };
        assert_eq!(look(rawdoc! { "b": binary }.as_bytes()), Seen::Unclear);
    }

    #[test]
    fn a_field_of_the_host_is_found_in_the_outermost_document_only() {
        assert_eq!(
            look(rawdoc! { "a": 1, "_m": {} }.as_bytes()),
            Seen::Reserved("_m")
        );
        assert_eq!(look(rawdoc! { "a": { "_id": 1 } }.as_bytes()), Seen::Valid);
    }

    proptest! {
        #[test]
        fn what_is_valid_here_is_valid_to_the_library(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
            behind in 0..2_usize,
        ) {
            let mut bytes = plain().into_bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut.index(4) == 0 {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes.extend(std::iter::repeat_n(0, behind));
            if look(&bytes) != Seen::Unclear {
                let document = RawDocumentBuf::from_bytes(bytes).expect("a document");
                prop_assert!(validate(bson::RawBsonRef::Document(&document), 0).is_ok());
            }
        }
    }
}
