//! Names that one object has twice: the last one counts, as in every reader of JSON that keeps one.
//!
//! Each object of each document is looked through, so it is done in a way that costs little where
//! no name comes twice.

use bson::raw::RawJavaScriptCodeWithScope;
use bson::raw::{RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};

use crate::fast_hash::FastSet;

/// Up to this many names are compared each with each.
const FEW: usize = 24;

/// Differs for most names that differ.
pub(super) fn print(name: &[u8]) -> u32 {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else {
        return 0;
    };
    let middle = name[name.len() / 2];
    // The lowest byte of the length will do.
    u32::from_le_bytes([(name.len() & 0xff) as u8, first, middle, last])
}

/// Whether two of the names are the same. `of` gives a name and its [`print`].
pub(super) fn exist<'n, T>(names: &[T], of: impl Fn(&T) -> (u32, &'n [u8])) -> bool {
    if names.len() > FEW {
        let mut seen = FastSet::with_capacity_and_hasher(names.len(), Default::default());
        return !names.iter().all(|name| seen.insert(of(name).1));
    }
    names.iter().enumerate().any(|(index, one)| {
        let (print, name) = of(one);
        let mut earlier = names[..index].iter().map(&of);
        earlier.any(|(other_print, other)| other_print == print && other == name)
    })
}

/// Which of the names do not come again, in their order.
pub(super) fn lasting<'n>(names: impl DoubleEndedIterator<Item = &'n [u8]>) -> Vec<bool> {
    let mut seen = FastSet::default();
    let mut lasting: Vec<bool> = names.rev().map(|name| seen.insert(name)).collect();
    lasting.reverse();
    lasting
}

/// The same document with the last element alone of each name, on all levels.
pub(super) fn without(document: &RawDocument) -> Result<RawDocumentBuf, bson::error::Error> {
    let elements = document.iter().collect::<Result<Vec<_>, _>>()?;
    let names = elements.iter().map(|(name, _)| name.as_str().as_bytes());
    let mut kept = RawDocumentBuf::new();
    for ((name, value), is_lasting) in elements.iter().zip(lasting(names)) {
        if is_lasting {
            kept.append(name, value_without(*value)?);
        }
    }
    Ok(kept)
}

fn value_without(value: RawBsonRef<'_>) -> Result<RawBson, bson::error::Error> {
    Ok(match value {
        RawBsonRef::Document(document) => RawBson::Document(without(document)?),
        RawBsonRef::Array(items) => {
            let mut kept = RawArrayBuf::new();
            for item in items {
                kept.push(value_without(item?)?);
            }
            RawBson::Array(kept)
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            RawBson::JavaScriptCodeWithScope(RawJavaScriptCodeWithScope {
                code: code.code.to_owned(),
                scope: without(code.scope)?,
            })
        }
        other => other.into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_that_comes_again_is_found(names in prop::collection::vec("[a-c]{0,3}|x[0-9]{1,2}", 0..60)) {
            let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
            let distinct: FastSet<&[u8]> = names.iter().copied().collect();
            let found = exist(&names, |name| (print(name), *name));
            prop_assert_eq!(found, distinct.len() < names.len());
            let lasting = lasting(names.iter().copied());
            prop_assert_eq!(lasting.iter().filter(|&&kept| kept).count(), distinct.len());
        }
    }
}
