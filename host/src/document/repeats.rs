//! Names that one object has twice: the last one counts, as in every reader of JSON that keeps one.
//!
//! Each object of each document is looked through, so it is done in a way that costs little where
//! no name comes twice.

use bson::raw::RawJavaScriptCodeWithScope;
use bson::raw::{RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};

use crate::fast_hash::FastSet;

/// Up to this many names are compared each with each.
const FEW: usize = 24;

/// Differs for most names that differ. Whoever chooses names can make it the same for many; then
/// the names themselves are compared, in a way that nobody can make slow.
pub(super) fn print(name: &[u8]) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = name.len() as u64;
    let mut rest = name;
    while let Some((word, behind)) = rest.split_first_chunk() {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(ODD);
        state ^= state >> 32;
        rest = behind;
    }
    let last = rest
        .iter()
        .fold(0, |word, &byte| word << 8 | u64::from(byte));
    state = (state ^ last).wrapping_mul(ODD);
    (state >> 32) as u32
}

/// Which prints have been seen, some of them taken for others.
#[derive(Default)]
pub(super) struct Seen([u64; 4]);

impl Seen {
    /// False where no equal print was there before.
    pub(super) fn add(&mut self, print: u32) -> bool {
        let place = print >> 24;
        let (word, bit) = (&mut self.0[(place / 64) as usize], 1 << (place % 64));
        let before = *word & bit != 0;
        *word |= bit;
        before
    }
}

/// Whether two of the names are the same. `print_of` gives a name's [`print`].
pub(super) fn exist<'n, T>(
    names: &[T],
    print_of: impl Fn(&T) -> u32,
    name_of: impl Fn(&T) -> &'n [u8],
) -> bool {
    if names.len() > FEW {
        if !may_repeat(names.len(), names.iter().map(print_of)) {
            return false;
        }
        let mut seen = FastSet::with_capacity_and_hasher(names.len(), Default::default());
        return !names.iter().all(|name| seen.insert(name_of(name)));
    }
    let mut seen = Seen::default();
    names.iter().enumerate().any(|(index, one)| {
        let print = print_of(one);
        let is_same = |other: &T| print_of(other) == print && name_of(other) == name_of(one);
        seen.add(print) && names[..index].iter().any(is_same)
    })
}

/// False where all prints differ; true where two are the same, or finding out takes too long.
fn may_repeat(len: usize, prints: impl Iterator<Item = u32>) -> bool {
    // A table with a place for each print, or the next one that is free.
    let places = (len * 2).next_power_of_two();
    let mut table = vec![0_u32; places];
    let mut looks = len * 8;
    for print in prints {
        // 0 is a free place.
        let print = print.max(1);
        let mut place = print as usize & (places - 1);
        while table[place] != 0 {
            if table[place] == print || looks == 0 {
                return true;
            }
            looks -= 1;
            place = (place + 1) & (places - 1);
        }
        table[place] = print;
    }
    false
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
            let found = exist(&names, |name| print(name), |name| *name);
            prop_assert_eq!(found, distinct.len() < names.len());
            let lasting = lasting(names.iter().copied());
            prop_assert_eq!(lasting.iter().filter(|&&kept| kept).count(), distinct.len());
        }
    }
}
