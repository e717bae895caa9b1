//! A partition's events, and what independent of all workers is to become of them.

use std::sync::Arc;

use projectionist::pipeline::queue::Item;
use projectionist::record::{Event, Header, NextOffset, Offset};
use proptest::prelude::*;

/// The header with an event's id.
pub(crate) const ID_HEADER: &str = "id";

/// How many ids are remembered.
pub(crate) const WINDOW: usize = 4;

/// The value of an event that no document may be shaped by.
const FORBIDDEN: &[u8] = b"forbidden";

const KEYS: u8 = 4;
const IDS: u8 = 16;

/// One event before it has an offset.
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    /// Offsets before it that hold no event.
    gap: u8,
    key: Option<u8>,
    id: Option<u8>,
    tombstone: bool,
    trouble: Trouble,
}

/// Whether the plugin can fold an event. With a fixed plugin it can fold each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// It names the event.
    Reject,
    /// Somewhere in the batch.
    Trap,
    /// Now and then, and only in some hosts: a time-out.
    Flaky,
    /// It folds the event, and the store does not take what it makes.
    Unstorable,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) records: Vec<Record>,
    /// Behind the last gap.
    pub(crate) end: NextOffset,
    /// The ids that are new when they come, in their order, and the offsets that bring them.
    pub(crate) ids: Vec<(Offset, u8)>,
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) event: Arc<Event>,
    pub(crate) trouble: Trouble,
    /// It has an id that came shortly before.
    pub(crate) duplicate: bool,
}

/// What the toy plugin makes of the events of one key. The chain tells any other order, any
/// event that is missing and any that came twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) events: i64,
    pub(crate) chain: i64,
    /// How many of them the store may not take.
    pub(crate) forbidden: i64,
}

pub(crate) fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let trouble = prop_oneof![
        9 => Just(Trouble::None),
        1 => Just(Trouble::Reject),
        1 => Just(Trouble::Trap),
        1 => Just(Trouble::Flaky),
        1 => Just(Trouble::Unstorable),
    ];
    let sketch = (
        prop_oneof![4 => Just(0u8), 1 => 1..4u8],
        prop::option::weighted(0.9, 0..KEYS),
        prop::option::weighted(0.8, 0..IDS),
        prop::bool::weighted(0.1),
        trouble,
    );
    let sketch = sketch.prop_map(|(gap, key, id, tombstone, trouble)| Sketch {
        gap,
        key,
        id,
        tombstone,
        trouble,
    });
    prop::collection::vec(sketch, 1..24)
}

impl Topic {
    /// `gap` offsets behind the last event hold none.
    pub(crate) fn new(sketches: &[Sketch], gap: u8) -> Self {
        let mut end = 0;
        let mut ids: Vec<(Offset, u8)> = Vec::new();
        let mut records = Vec::new();
        for sketch in sketches {
            end += i64::from(sketch.gap);
            let event = sketch.event(Offset(end));
            end += 1;
            let known = ids.iter().rev().take(WINDOW);
            let duplicate = sketch
                .id
                .is_some_and(|id| known.clone().any(|(_, seen)| *seen == id));
            if let Some(id) = sketch.id.filter(|_| !duplicate) {
                ids.push((event.offset, id));
            }
            records.push(Record {
                event: Arc::new(event),
                trouble: sketch.trouble,
                duplicate,
            });
        }
        Topic {
            records,
            end: NextOffset(end + i64::from(gap)),
            ids,
        }
    }

    /// What a consumer that stands at `position` gets next, where the partition ends at `end`.
    pub(crate) fn read(&self, position: NextOffset, end: NextOffset) -> Option<Item> {
        let event = &self.records.get(self.index(position)).map(|r| &r.event);
        match event {
            Some(event) if end.includes(event.offset) => Some(Item::Event(Arc::clone(event))),
            Some(_) | None => (position < end).then_some(Item::Position(end)),
        }
    }

    pub(crate) fn record(&self, offset: Offset) -> &Record {
        &self.records[self.index(NextOffset(offset.0))]
    }

    /// The records before a position.
    pub(crate) fn before(&self, position: NextOffset) -> &[Record] {
        &self.records[..self.index(position)]
    }

    fn index(&self, position: NextOffset) -> usize {
        self.records
            .partition_point(|record| position.includes(record.event.offset))
    }
}

impl Sketch {
    fn event(&self, offset: Offset) -> Event {
        let header = |id| Header {
            name: ID_HEADER.into(),
            value: Some([id].into()),
        };
        let key = self.key.map(|key| [b'a' + key]);
        let value = if self.trouble == Trouble::Unstorable {
            FORBIDDEN
        } else {
            b"value".as_slice()
        };
        let value = (!self.tombstone).then_some(value);
        let headers = self.id.map(header).into_iter().collect();
        Event::new(
            offset,
            0,
            key.as_ref().map(<[u8; 1]>::as_slice),
            value,
            headers,
        )
    }
}

impl Account {
    /// The account after one more event; `None` where there is none.
    ///
    /// An event without a key has no order to keep, so there the chain is a sum.
    pub(crate) fn after(account: Option<Account>, event: &Event) -> Option<Account> {
        if event.key().is_some() && event.value().is_none() {
            return None;
        }
        let Account {
            events,
            chain,
            forbidden,
        } = account.unwrap_or(Account {
            events: 0,
            chain: 0,
            forbidden: 0,
        });
        let link = (event.offset.0 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed());
        let chain = match event.key() {
            Some(_) => (chain.rotate_left(5) ^ link).wrapping_mul(0x0100_0000_01b3),
            None => chain.wrapping_add(link),
        };
        Some(Account {
            events: events + 1,
            chain,
            forbidden: forbidden + i64::from(event.value() == Some(FORBIDDEN)),
        })
    }

    pub(crate) fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<Account> {
        events.into_iter().fold(None, Account::after)
    }
}

/// The document that an event shapes.
pub(crate) fn document_of(event: &Event) -> &str {
    let key = event.key().unwrap_or(b"nobody");
    std::str::from_utf8(key).expect("the keys are letters")
}
