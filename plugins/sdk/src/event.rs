//! One event as a projection sees it.

use crate::bindings::exports::projectionist::plugin::projection::Batch;
use crate::message::{Message, Outbox};
use crate::projection::Reject;

/// An event with its value decoded. All else is borrowed from the batch it came in.
pub struct Event<'a, T> {
    /// `None` for a tombstone.
    pub value: Option<T>,
    key: Option<&'a [u8]>,
    index: u32,
    source: Source<'a>,
}

/// What the events of a batch have in common.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) batch: &'a Batch,
    /// The names of the batch's header columns.
    pub(crate) headers: &'static [&'static str],
    pub(crate) outbox: &'a Outbox,
}

impl<'a, T> Event<'a, T> {
    pub(crate) fn new(
        value: Option<T>,
        key: Option<&'a [u8]>,
        index: u32,
        source: Source<'a>,
    ) -> Self {
        Event {
            value,
            key,
            index,
            source,
        }
    }

    /// The key's bytes; `None` where the event has no key.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The key as text; `None` where the event has no key.
    ///
    /// # Errors
    /// A key that is not UTF-8, which no document's id can be, is a reason to reject the event.
    pub fn key_str(&self) -> Result<Option<&'a str>, Reject> {
        self.key.map(str::from_utf8).transpose().map_err(|error| {
            Reject::because(format_args!(
                "the key is not UTF-8 ({error}), so it names no document"
            ))
        })
    }

    pub fn topic(&self) -> &'a str {
        &self.source.batch.topic
    }

    pub fn partition(&self) -> u32 {
        self.source.batch.partition
    }

    pub fn offset(&self) -> u64 {
        self.source.batch.offsets[self.index as usize]
    }

    /// Milliseconds since 1970, by the clock of whoever the topic is configured to believe.
    pub fn timestamp_ms(&self) -> i64 {
        self.source.batch.timestamps_ms[self.index as usize]
    }

    /// A header's value; `None` where the event lacks the header, or its value is null.
    ///
    /// # Panics
    /// If the name is not one of [`Projection::HEADERS`](crate::Projection::HEADERS): the host
    /// passes no others.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let position = self.source.headers.iter().position(|known| *known == name);
        let Some(position) = position else {
            panic!("header \"{name}\" is not listed in the projection's HEADERS");
        };
        self.source.batch.headers[position].get(self.index as usize)
    }
    /// Sends a message because of this event: exactly when what [`Projection::fold`] makes of the
    /// event is stored, and never if the event is rejected.
    ///
    /// Messages go out in the order of their events, and those of one event in the order of the
    /// calls. Whoever reads them may see one again after a crash of the host, with the same header
    /// `event-id`. An event that touches no document is not folded; it may send its messages in
    /// [`Projection::ids`].
    ///
    /// An event that touches several documents is folded into each of them: send a message in one
    /// of these calls, or it is sent as often.
    ///
    /// [`Projection::fold`]: crate::Projection::fold
    /// [`Projection::ids`]: crate::Projection::ids
    pub fn send(&self, message: Message) {
        self.source.outbox.put(self.index, message);
    }
}
