//! Many byte strings in one, as they cross the boundary to a guest.

use super::bindings::Column;

/// Joins items that the caller can go through twice, so that nothing is allocated twice.
pub(super) fn join<'a>(items: impl Iterator<Item = Option<&'a [u8]>> + Clone) -> Column {
    let (mut count, mut missing, mut bytes) = (0, 0, 0);
    for item in items.clone() {
        count += 1;
        missing += usize::from(item.is_none());
        bytes += item.map_or(0, <[u8]>::len);
    }

    let mut column = Column {
        bytes: Vec::with_capacity(bytes),
        ends: Vec::with_capacity(count),
        missing: Vec::with_capacity(missing),
    };
    for (index, item) in items.enumerate() {
        match item {
            Some(item) => column.bytes.extend_from_slice(item),
            None => column.missing.push(narrow(index)),
        }
        column.ends.push(narrow(column.bytes.len()));
    }
    column
}

/// Takes a guest's column apart, or says in which way it is none. Whoever calls it has looked at
/// the number of items.
pub(super) fn split(column: &Column) -> Result<Vec<Option<&[u8]>>, String> {
    let (count, missing) = (column.ends.len(), column.missing.len());
    if missing > count {
        return Err(format!("it has {count} items, and {missing} missing ones"));
    }
    let mut items = Vec::with_capacity(count);
    for item in cut(&column.bytes, &column.ends) {
        items.push(Some(item?));
    }

    let mut next = 0;
    for &missing in &column.missing {
        let index = missing as usize;
        if index < next {
            return Err(format!("its missing items are not in order at {index}"));
        }
        next = index + 1;
        match items.get_mut(index) {
            Some(item) if item.is_some_and(<[u8]>::is_empty) => *item = None,
            Some(_) => return Err(format!("its item {index} is missing, but has bytes")),
            None => return Err(format!("its missing item {index} is not one of its items")),
        }
    }
    Ok(items)
}

/// The items that end at `ends`, in which nothing may be left over.
pub(super) fn cut<'a>(
    bytes: &'a [u8],
    ends: &'a [u32],
) -> impl Iterator<Item = Result<&'a [u8], String>> {
    let rest = match ends.last().map_or(0, |&end| end as usize) {
        end if end == bytes.len() => None,
        end => Some(Err(format!(
            "its items end at byte {end}, but it has {}",
            bytes.len()
        ))),
    };
    let mut start = 0;
    let items = ends.iter().enumerate().map(move |(index, &end)| {
        let end = end as usize;
        let item = bytes.get(start..end);
        let item = item.ok_or_else(|| beyond(bytes, index, start, end));
        start = end;
        item
    });
    items.chain(rest)
}

fn beyond(bytes: &[u8], index: usize, start: usize, end: usize) -> String {
    if end < start {
        format!("its item {index} ends at byte {end}, before it starts at {start}")
    } else {
        format!(
            "its item {index} ends at byte {end}, but it has only {} bytes",
            bytes.len()
        )
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("batches and documents are bounded far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(bytes: &[u8], ends: &[u32], missing: &[u32]) -> Column {
        Column {
            bytes: bytes.to_vec(),
            ends: ends.to_vec(),
            missing: missing.to_vec(),
        }
    }

    #[test]
    fn what_is_no_column_is_refused_with_the_reason() {
        let cases = [
            ("too far", column(b"abc", &[4], &[]), "only 3 bytes"),
            (
                "backwards",
                column(b"abc", &[2, 1], &[]),
                "before it starts",
            ),
            ("too short", column(b"abc", &[2], &[]), "end at byte 2"),
            ("no items", column(b"abc", &[], &[]), "end at byte 0"),
            ("missing yet there", column(b"a", &[1], &[0]), "has bytes"),
            ("missing nowhere", column(b"", &[0], &[1]), "not one of"),
            ("missing twice", column(b"", &[0, 0], &[0, 0]), "in order"),
            (
                "more missing than there",
                column(b"", &[0], &[0, 0]),
                "2 missing",
            ),
            ("disorder", column(b"", &[0, 0], &[1, 0]), "in order"),
        ];
        for (name, column, reason) in cases {
            let problem = split(&column).expect_err(name);
            assert!(problem.contains(reason), "{name}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn what_is_joined_is_split_into_the_same_items(
            items in prop::collection::vec(
                prop::option::of(prop::collection::vec(any::<u8>(), 0..4)),
                0..8,
            )
        ) {
            let column = join(items.iter().map(Option::as_deref));
            let back = split(&column).expect("a column");
            prop_assert_eq!(back, items.iter().map(Option::as_deref).collect::<Vec<_>>());
        }

        #[test]
        fn no_column_makes_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..8),
            ends in prop::collection::vec(0..10_u32, 0..6),
            missing in prop::collection::vec(0..8_u32, 0..4),
        ) {
            let items = ends.len();
            if let Ok(split) = split(&Column { bytes, ends, missing }) {
                prop_assert_eq!(split.len(), items);
            }
        }
    }
}
