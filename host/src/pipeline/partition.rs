//! The progress of one partition: which of its events are folded, in flight and stored.
//!
//! Guarantees:
//! - Events are folded in offset order, each once, unless [`Partition::retract`] says that what
//!   was folded since the last stored checkpoint came to nothing.
//! - The checkpoint that [`Partition::submit`] asks for never passes an event that is not folded,
//!   and starts where the store's stands.
//!
//! Pure: no I/O, no clock. Not here: documents (`pending`), commits (`committer`).
//!
//! The log of events that are not stored yet has two marks:
//!
//! ```text
//!   stored          submitted        folded              received
//!     │  in flight      │   pending     │     waiting        │
//!     ▼─────────────────▼───────────────▼────────────────────▼
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use crate::fast_hash::FastSet;
use crate::record::{Event, LastRecord, LeaderEpoch, NextOffset, Offset, TopicPartition};

/// How much one batch may hold. What costs is a document's version, not an event, so many events
/// of few keys make a long batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    pub events_max: usize,
    /// Distinct keys in a batch before the fold, distinct documents after it.
    pub documents_max: usize,
    pub bytes_max: usize,
}

#[derive(Debug)]
pub struct Partition {
    id: TopicPartition,
    /// Events from `stored` on, in offset order.
    log: VecDeque<Arc<Event>>,
    stored: NextOffset,
    /// Events at the front of the log whose commit is under way, and its position.
    in_flight: Option<Span>,
    /// Events at the front of the log that are folded, those in flight included.
    folded: Span,
    /// No event before this position is still to come.
    received: NextOffset,
    /// The last event before `stored`, where it is known.
    last: Option<LastRecord>,
    /// The leader epochs of the log's events: each holds from its position on.
    epochs: VecDeque<(NextOffset, Option<LeaderEpoch>)>,
    /// Most events that the next batch may hold; less than the limit while a fault is narrowed
    /// down to its event.
    narrowed: Option<usize>,
}

/// A stretch of the log from its front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    events: usize,
    to: NextOffset,
}

/// What a commit of this partition has to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub from: NextOffset,
    pub to: NextOffset,
    /// The last event before `to`, where it is known.
    pub last: Option<LastRecord>,
}

/// Room that stored events give back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    pub events: usize,
    pub bytes: usize,
}

/// What to do about a batch that the plugin could not fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrowed {
    /// Fold again; the next batch is shorter.
    Retry,
    /// Only one event of the batch was to be folded: this one, an index in the batch.
    Culprit(usize),
}

impl Partition {
    /// A partition whose events before `next` are stored.
    pub fn new(id: TopicPartition, next: NextOffset) -> Self {
        Partition {
            id,
            log: VecDeque::new(),
            last: None,
            epochs: VecDeque::from([(next, None)]),
            stored: next,
            in_flight: None,
            folded: Span {
                events: 0,
                to: next,
            },
            received: next,
            narrowed: None,
        }
    }

    /// The same where the last event before the position is known.
    #[must_use]
    pub fn after(self, last: Option<LastRecord>) -> Self {
        let epoch = last.map(|last| last.epoch);
        Partition {
            last,
            epochs: VecDeque::from([(self.stored, epoch)]),
            ..self
        }
    }

    pub fn id(&self) -> &TopicPartition {
        &self.id
    }

    pub fn stored(&self) -> NextOffset {
        self.stored
    }

    /// The last event before [`Partition::stored`], where it is known.
    pub fn last(&self) -> Option<LastRecord> {
        self.last
    }

    /// Notes under which leader epoch the events were written that come from now on.
    pub fn receive_epoch(&mut self, epoch: Option<LeaderEpoch>) {
        self.epochs.push_back((self.received, epoch));
    }

    /// The last event of a stretch, or of what is stored where the stretch has none.
    fn last_of(&self, span: Span) -> Option<LastRecord> {
        let Some(last) = span.events.checked_sub(1) else {
            return self.last;
        };
        let offset = self.log[last].offset;
        let mut epochs = self.epochs.iter().rev();
        let (_, epoch) = epochs.find(|(from, _)| !from.includes(offset))?;
        epoch.map(|epoch| LastRecord { offset, epoch })
    }

    /// Forgets the epochs of events that are stored.
    fn forget_epochs(&mut self) {
        while let Some((next, _)) = self.epochs.get(1)
            && *next <= self.stored
        {
            self.epochs.pop_front();
        }
    }

    /// Takes an event. False where it was received before: a source that was paused may fetch
    /// some events again.
    pub fn receive(&mut self, event: Arc<Event>) -> bool {
        if self.received.includes(event.offset) {
            return false;
        }
        self.received = event.offset.next();
        self.log.push_back(event);
        true
    }

    /// Notes that no event is to come before `position`.
    pub fn receive_position(&mut self, position: NextOffset) {
        self.received = self.received.max(position);
        self.pass_gap();
    }

    /// Events that are received and not folded.
    pub fn waiting(&self) -> usize {
        self.log.len() - self.folded.events
    }

    /// The first event that is received and not folded.
    pub fn first_waiting(&self) -> Option<Offset> {
        self.log.get(self.folded.events).map(|event| event.offset)
    }

    /// The next events to fold, oldest first; empty where none wait.
    ///
    /// `room` is what the pending commit still takes. The batch holds at least one event, however
    /// large, so that a single event never gets stuck.
    pub fn cut(&self, room: BatchLimits) -> Vec<Arc<Event>> {
        let events_max = self
            .narrowed
            .map_or(room.events_max, |narrowed| narrowed.min(room.events_max));
        let events = events_max.min(self.waiting());
        let mut batch: Vec<Arc<Event>> = Vec::with_capacity(events);
        let mut keys = FastSet::default();
        keys.reserve(events.min(room.documents_max));
        let mut bytes = 0;
        for event in self.log.range(self.folded.events..) {
            bytes += event.size_bytes();
            keys.insert(event.key());
            let over = batch.len() >= events_max
                || keys.len() > room.documents_max
                || bytes > room.bytes_max;
            if over && !batch.is_empty() {
                break;
            }
            batch.push(Arc::clone(event));
        }
        batch
    }

    /// The waiting events, oldest first, without the first `skip` ones.
    pub fn behind(&self, skip: usize) -> impl Iterator<Item = &Arc<Event>> {
        self.log.iter().skip(self.folded.events + skip)
    }

    /// Notes that the oldest `events` waiting events are folded.
    pub fn fold(&mut self, events: usize) {
        assert!(
            events > 0 && events <= self.waiting(),
            "{}: folded {events} events of {} waiting ones",
            self.id,
            self.waiting()
        );
        self.folded.events += events;
        self.folded.to = self.log[self.folded.events - 1].offset.next();
        self.narrowed = self.narrowed.and_then(|narrowed| {
            // Past the fault, batches grow again: doubling until they are as long as ever.
            (narrowed < self.log.len()).then(|| narrowed.saturating_mul(2))
        });
        self.pass_gap();
    }

    /// The plugin could not fold the events at these (ascending) indices of a batch. `culprit` is
    /// the index, among them, of the event at fault, where it is known.
    pub fn fault(&mut self, folded: &[usize], culprit: Option<usize>) -> Narrowed {
        // How many of them to try next. What comes before the culprit can be folded.
        let tried = match culprit {
            Some(0) => 1,
            Some(index) if index < folded.len() => index,
            Some(_) | None => folded.len().div_ceil(2),
        };
        // What lies between them in the batch needs no plugin.
        self.narrowed = Some(folded[tried - 1] + 1);
        match folded {
            [only] => Narrowed::Culprit(*only),
            _ => Narrowed::Retry,
        }
    }

    /// Notes that the next batch may hold at most half of `events` events; for a commit that was
    /// too large, or a fold that found no memory.
    pub fn narrow(&mut self, events: usize) {
        self.narrowed = Some((events / 2).max(1));
    }

    /// Notes that what was made of the events up to and with `offset` cannot be stored: the next
    /// batch ends in the middle before it, or is that event alone where none is before it.
    pub fn narrow_before(&mut self, offset: Offset) {
        let before = self.log.partition_point(|event| event.offset < offset);
        self.narrowed = Some(before.div_ceil(2).max(1));
    }

    /// True where something is folded that no commit was asked for.
    pub fn has_pending(&self) -> bool {
        self.folded.to > self.submitted()
    }

    /// Events folded since the last [`Partition::submit`].
    pub fn pending_events(&self) -> usize {
        self.folded.events - self.in_flight_events()
    }

    /// True while a commit of this partition is under way, of events or of a position alone.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Events whose commit is under way.
    pub fn in_flight_events(&self) -> usize {
        self.in_flight.map_or(0, |span| span.events)
    }

    /// True while batches are kept short to find an event at fault; such a batch is stored before
    /// the next is folded.
    pub fn is_narrowed(&self) -> bool {
        self.narrowed.is_some()
    }

    /// Starts a commit of everything folded. At most one is under way.
    pub fn submit(&mut self) -> Option<Step> {
        assert!(
            self.in_flight.is_none(),
            "{}: a commit is under way",
            self.id
        );
        if !self.has_pending() {
            return None;
        }
        self.in_flight = Some(self.folded);
        Some(Step {
            from: self.stored,
            to: self.folded.to,
            last: self.last_of(self.folded),
        })
    }

    /// The commit under way is stored.
    pub fn commit(&mut self) -> Freed {
        let Some(span) = self.in_flight.take() else {
            return Freed::default();
        };
        self.last = self.last_of(span);
        self.stored = span.to;
        self.forget_epochs();
        self.folded.events -= span.events;
        let bytes = self
            .log
            .drain(..span.events)
            .map(|event| event.size_bytes())
            .sum();
        Freed {
            events: span.events,
            bytes,
        }
    }

    /// What was folded since the stored checkpoint came to nothing: fold it again.
    pub fn retract(&mut self) {
        self.in_flight = None;
        self.folded = Span {
            events: 0,
            to: self.stored,
        };
        self.pass_gap();
    }

    fn submitted(&self) -> NextOffset {
        self.in_flight.map_or(self.stored, |span| span.to)
    }

    /// Where no event waits, the gap behind the last folded one is passed too.
    fn pass_gap(&mut self) {
        if self.waiting() == 0 {
            self.folded.to = self.received;
        }
    }
}

#[cfg(test)]
mod tests;
