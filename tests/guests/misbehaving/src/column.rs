//! Columns and their items.

use crate::bindings::Column;

pub(crate) fn items(column: &Column) -> Vec<Option<&[u8]>> {
    let mut start = 0;
    let mut items: Vec<Option<&[u8]>> = column
        .ends
        .iter()
        .map(|&end| {
            let item = &column.bytes[start..end as usize];
            start = end as usize;
            Some(item)
        })
        .collect();
    for &index in &column.missing {
        items[index as usize] = None;
    }
    items
}

pub(crate) fn join<'a>(items: impl Iterator<Item = Option<&'a [u8]>>) -> Column {
    let mut column = Column {
        bytes: Vec::new(),
        ends: Vec::new(),
        missing: Vec::new(),
    };
    for (index, item) in items.enumerate() {
        match item {
            Some(item) => column.bytes.extend_from_slice(item),
            None => column.missing.push(index as u32),
        }
        column.ends.push(column.bytes.len() as u32);
    }
    column
}
