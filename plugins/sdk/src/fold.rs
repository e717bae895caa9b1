//! From a batch to its writes: the part of the SDK that decides, free of the host.
//!
//! 1. Decode each event once and collect the ids of its documents.
//! 2. Ask for all of these documents in one call.
//! 3. Fold the events in order, each document decoded when it is first touched.
//! 4. Write each touched document once, and hand over what the events sent.
//!
//! Guarantees:
//! - The writes and the messages are those of folding one event after the other.
//! - Where events are rejected, the answer names them, and has what the others came to, those left
//!   out that come behind a rejected one of their key. Only such events are named as are rejected
//!   as well when each event is folded by itself, with the later events of a rejected key left out.
//!   The first of those is always among them.
//! - A rejected event may have changed its documents before it was rejected. Each of them is folded
//!   anew then, from the events before. That looks through the batch, so where many events are
//!   rejected, all is folded once more without them instead. Should that reject others which leave
//!   documents so, the answer only names those that are known by then, and the host asks again for
//!   the rest.

use std::str::Utf8Error;

use hashbrown::{HashMap, HashSet};

use crate::bindings::exports::projectionist::plugin::projection::Reject as RejectedEvent;
use crate::bindings::exports::projectionist::plugin::projection::{Batch, Output, Writes};
use crate::column::{Column, Texts};
use crate::encoding::{self, Stored, read_json};
use crate::event::{Event, Source};
use crate::ids::{Ids, Interner};
use crate::message::Outbox;
use crate::projection::{Projection, Reject};
use crate::repeats;

/// The stored documents.
pub(crate) trait Documents {
    /// One item per id, missing where no document exists.
    fn get_many(&mut self, ids: &Column) -> Column;
}

/// The events of a batch, those left out that touch no document.
struct Decoded<'a, P: Projection> {
    events: Vec<Decided<'a, P>>,
    /// The documents that the events touch, by their index in `ids`.
    touched: Vec<u32>,
    ids: Interner,
    outbox: &'a Outbox,
}

impl<P: Projection> Decoded<'_, P> {
    /// Whether an event may have been refused for a name that it has twice.
    fn has_repeats(&self) -> bool {
        self.events.iter().any(|decided| match decided {
            Decided::Rejected { event, .. } => repeats::is_blamed(&event.reason),
            Decided::Touching(_) => false,
        })
    }
}

/// What can be said of an event before any document is known.
enum Decided<'a, P: Projection> {
    Touching(Touching<'a, P>),
    Rejected {
        key: Option<&'a [u8]>,
        event: RejectedEvent,
    },
}

struct Touching<'a, P: Projection> {
    event: Event<'a, P::Event<'a>>,
    /// The event's index in the batch.
    index: u32,
    /// Where its part of `touched` ends; it starts where the event before ends.
    touched_end: usize,
}

/// A document in the course of a batch.
enum State<D> {
    /// As it was stored, if it was.
    Untouched,
    Folded {
        document: Option<D>,
        /// Index of the last event that was folded into it.
        event: u32,
    },
    /// Nobody knows: a rejected event may have changed it.
    Spoilt,
}

/// What the events of a batch came to.
struct Folded<D> {
    states: Vec<State<D>>,
    rejects: Vec<RejectedEvent>,
}

/// What looking for the events of single documents may cost: so many times as much as looking
/// through the batch once.
const LOOKS_MAX: usize = 64;

/// Keys whose later events are not folded any more.
#[derive(Default)]
struct Keys<'a> {
    /// An event of the key is rejected: the host sets the later ones aside.
    rejected: KeySet<'a>,
    /// Whether an event of the key is rejected cannot be told in this call.
    undecided: KeySet<'a>,
}

/// Events that are known to be rejected before any is folded: their indices and the reasons.
type Known = HashMap<u32, String, foldhash::fast::FixedState>;

type KeySet<'a> = HashSet<&'a [u8], foldhash::fast::FixedState>;

pub(crate) fn project<P: Projection>(
    projection: &P,
    batch: &Batch,
    documents: &mut impl Documents,
) -> Result<Output, String> {
    let values = &batch.values;
    let first = Outbox::default();
    let decoded = decode(projection, batch, values, &first);
    if !decoded.has_repeats() {
        return project_decoded(projection, batch, decoded, documents);
    }
    let values = repeats::without(values);
    let outbox = Outbox::default();
    let decoded = decode(projection, batch, &values, &outbox);
    project_decoded(projection, batch, decoded, documents)
}

fn project_decoded<P: Projection>(
    projection: &P,
    batch: &Batch,
    decoded: Decoded<'_, P>,
    documents: &mut impl Documents,
) -> Result<Output, String> {
    let outbox = decoded.outbox;
    let ids = decoded.ids.column();
    let stored = if ids.len() > 0 {
        documents.get_many(ids)
    } else {
        Column::new()
    };
    let sent = outbox.len();
    let documents = Stored::of(&stored, P::ENCODING);
    let mut folded = fold(projection, &decoded, &documents, &Known::default());
    if folded.is_spoilt() {
        outbox.truncate(sent);
        let rejects = folded.rejects.into_iter();
        let known = rejects
            .map(|reject| (reject.event, reject.reason))
            .collect();
        folded = fold(projection, &decoded, &documents, &known);
    }
    if folded.is_spoilt() {
        return Ok(Output {
            rejects: folded.rejects,
            messages: Vec::new(),
            writes: Writes {
                events: Vec::new(),
                views: Vec::new(),
                ids: Column::new(),
                documents: Column::new(),
            },
        });
    }
    outbox.leave_out(&behind(&folded.rejects, batch));
    Ok(Output {
        writes: writes::<P>(folded.states, ids, &stored)?,
        messages: outbox.take(),
        rejects: folded.rejects,
    })
}

/// The rejected events of a batch, and the later ones of their keys.
fn behind(rejects: &[RejectedEvent], batch: &Batch) -> HashSet<u32, foldhash::fast::FixedState> {
    let mut left_out = HashSet::default();
    if rejects.is_empty() {
        return left_out;
    }
    left_out.extend(rejects.iter().map(|reject| reject.event));
    let mut keys = KeySet::default();
    for (index, key) in (0..).zip(batch.keys.iter()) {
        let Some(key) = key else {
            continue;
        };
        if left_out.contains(&index) {
            keys.insert(key);
        } else if keys.contains(key) {
            left_out.insert(index);
        }
    }
    left_out
}

fn decode<'a, P: Projection>(
    projection: &P,
    batch: &'a Batch,
    values: &'a Column,
    outbox: &'a Outbox,
) -> Decoded<'a, P> {
    let source = Source {
        batch,
        headers: P::HEADERS,
        outbox,
    };
    let mut decoded = Decoded {
        events: Vec::with_capacity(batch.offsets.len()),
        touched: Vec::with_capacity(batch.offsets.len()),
        ids: Interner::new(),
        outbox,
    };
    let values = Texts::of(values);
    for (position, key) in batch.keys.iter().enumerate() {
        let index = u32::try_from(position).expect("a plugin's memory has 32-bit addresses");
        let value = values.get(position);
        let before = decoded.touched.len();
        let mut ids = Ids::new(&mut decoded.ids, &mut decoded.touched);
        let decided = match read_event(projection, key, value, index, source, &mut ids) {
            Ok(_) if decoded.touched.len() == before => continue,
            Ok(event) => Decided::Touching(Touching {
                event,
                index,
                touched_end: decoded.touched.len(),
            }),
            Err(reject) => {
                decoded.touched.truncate(before);
                let reason = reject.into_reason();
                Decided::Rejected {
                    key,
                    event: RejectedEvent {
                        event: index,
                        reason,
                    },
                }
            }
        };
        decoded.events.push(decided);
    }
    decoded
}

fn read_event<'a, P: Projection>(
    projection: &P,
    key: Option<&'a [u8]>,
    value: Option<Result<&'a str, Utf8Error>>,
    index: u32,
    source: Source<'a>,
    ids: &mut Ids<'_>,
) -> Result<Event<'a, P::Event<'a>>, Reject> {
    let value = value.map(read_json).transpose().map_err(|error| {
        Reject::because(format_args!(
            "the value is not what this projection reads: {error}"
        ))
    })?;
    let event = Event::new(value, key, index, source);
    projection.ids(&event, ids)?;
    Ok(event)
}

fn fold<P: Projection>(
    projection: &P,
    decoded: &Decoded<'_, P>,
    stored: &Stored<'_>,
    known: &Known,
) -> Folded<P::Document> {
    let mut states: Vec<State<P::Document>> = Vec::new();
    states.resize_with(decoded.ids.column().len(), || State::Untouched);
    let mut rejects = Vec::new();
    let mut keys = Keys::default();
    let mut past = Past {
        folded: Vec::with_capacity(decoded.events.len()),
        looks: LOOKS_MAX * decoded.events.len(),
    };
    let mut start = 0;
    for (position, decided) in decoded.events.iter().enumerate() {
        past.folded.resize(position, false);
        match decided {
            Decided::Rejected { key, event } => {
                // One behind an event that may be rejected is not the first of its key, perhaps.
                if !keys.is_undecided(*key) && keys.reject(*key) {
                    rejects.push(RejectedEvent::clone(event));
                }
            }
            Decided::Touching(touching) => {
                let touched = &decoded.touched[start..touching.touched_end];
                start = touching.touched_end;
                let key = touching.event.key();
                let spoilt = |&number: &u32| matches!(states[number as usize], State::Spoilt);
                if keys.is_rejected(key) {
                    continue;
                }
                if let Some(reason) = known.get(&touching.index) {
                    keys.reject(key);
                    rejects.push(RejectedEvent {
                        event: touching.index,
                        reason: reason.clone(),
                    });
                    continue;
                }
                if keys.is_undecided(key) || touched.iter().any(spoilt) {
                    keys.leave_open(key);
                    spoil(&mut states, touched);
                    continue;
                }
                let ids = decoded.ids.column();
                let folded = fold_event(projection, touching, touched, ids, &mut states, stored);
                past.folded.push(folded.is_ok());
                if let Err(reject) = folded {
                    if !past.restore(projection, decoded, touched, &mut states, stored) {
                        spoil(&mut states, touched);
                    }
                    keys.reject(key);
                    rejects.push(RejectedEvent {
                        event: touching.index,
                        reason: reject.into_reason(),
                    });
                }
            }
        }
    }
    Folded { states, rejects }
}

/// The events so far.
struct Past {
    /// Those that were folded, by their position.
    folded: Vec<bool>,
    /// How many events may still be looked at.
    looks: usize,
}

impl Past {
    /// Folds these documents anew from the events so far, as if the last one had not been. A fold
    /// sees one document at a time, so no other document is needed for it.
    ///
    /// False where that would cost too much, or an event is rejected that was not before.
    fn restore<P: Projection>(
        &mut self,
        projection: &P,
        decoded: &Decoded<'_, P>,
        documents: &[u32],
        states: &mut [State<P::Document>],
        stored: &Stored<'_>,
    ) -> bool {
        let cost = self.folded.len() * documents.len();
        let Some(left) = self.looks.checked_sub(cost) else {
            return false;
        };
        self.looks = left;
        let ids = decoded.ids.column();
        let mut restored = true;
        let sent = decoded.outbox.len();
        for &document in documents {
            let number = document as usize;
            let id = str::from_utf8(ids.bytes_of(number)).expect("ids are added as strings");
            let mut state = State::Untouched;
            let mut start = 0;
            for (decided, folded) in decoded.events.iter().zip(&self.folded) {
                let Decided::Touching(touching) = decided else {
                    continue;
                };
                let touched = &decoded.touched[start..touching.touched_end];
                start = touching.touched_end;
                if *folded && touched.contains(&document) {
                    let again =
                        fold_one(projection, touching, id, &mut state, || stored.get(number));
                    restored &= again.is_ok();
                }
            }
            states[number] = state;
        }
        // They were sent already.
        decoded.outbox.truncate(sent);
        restored
    }
}

impl<D> Folded<D> {
    fn is_spoilt(&self) -> bool {
        let spoilt = |state: &State<D>| matches!(state, State::Spoilt);
        !self.rejects.is_empty() && self.states.iter().any(spoilt)
    }
}

fn spoil<D>(states: &mut [State<D>], touched: &[u32]) {
    for &number in touched {
        states[number as usize] = State::Spoilt;
    }
}

impl<'a> Keys<'a> {
    /// False where an earlier event of the key is rejected, so that this one is set aside anyway.
    fn reject(&mut self, key: Option<&'a [u8]>) -> bool {
        key.is_none_or(|key| self.rejected.insert(key))
    }

    fn leave_open(&mut self, key: Option<&'a [u8]>) {
        self.undecided.extend(key);
    }

    fn is_rejected(&self, key: Option<&[u8]>) -> bool {
        key.is_some_and(|key| self.rejected.contains(key))
    }

    fn is_undecided(&self, key: Option<&[u8]>) -> bool {
        key.is_some_and(|key| self.undecided.contains(key))
    }
}

/// Folds an event into each of its documents.
fn fold_event<P: Projection>(
    projection: &P,
    touching: &Touching<'_, P>,
    touched: &[u32],
    ids: &Column,
    states: &mut [State<P::Document>],
    stored: &Stored<'_>,
) -> Result<(), Reject> {
    for &number in touched {
        let number = number as usize;
        let id = str::from_utf8(ids.bytes_of(number)).expect("ids are added as strings");
        fold_one(projection, touching, id, &mut states[number], || {
            stored.get(number)
        })?;
    }
    Ok(())
}

fn fold_one<P: Projection>(
    projection: &P,
    touching: &Touching<'_, P>,
    id: &str,
    state: &mut State<P::Document>,
    stored: impl FnOnce() -> Option<Result<P::Document, String>>,
) -> Result<(), Reject> {
    if let State::Untouched = state {
        let document = stored().transpose().map_err(|error| {
            Reject::because(format_args!(
                "the stored document \"{id}\" is not what this projection reads: {error}; \
                 a new shape of document needs a new version of the view"
            ))
        })?;
        *state = State::Folded {
            document,
            event: touching.index,
        };
    }
    let State::Folded { document, event } = state else {
        unreachable!("an untouched document has just been read, and a spoilt one is not folded");
    };
    *event = touching.index;
    projection.fold(&touching.event, id, document)
}

/// One write for each document that was folded, except where none existed and none shall.
fn writes<P: Projection>(
    states: Vec<State<P::Document>>,
    ids: &Column,
    stored: &Column,
) -> Result<Writes, String> {
    let mut writes = Writes {
        events: Vec::with_capacity(states.len()),
        views: Vec::with_capacity(states.len()),
        ids: Column::new(),
        documents: Column::new(),
    };
    for (number, state) in states.into_iter().enumerate() {
        let State::Folded { document, event } = state else {
            continue;
        };
        match document {
            Some(document) => {
                let bytes = &mut writes.documents.bytes;
                encoding::write(&document, P::ENCODING, bytes).map_err(|problem| {
                    let id = String::from_utf8_lossy(ids.bytes_of(number));
                    format!("document \"{id}\" {problem}")
                })?;
                writes.documents.end_item();
            }
            None if stored.get(number).is_none() => continue,
            None => writes.documents.push_missing(),
        }
        writes.events.push(event);
        writes.views.push(0);
        writes.ids.push(ids.bytes_of(number));
    }
    Ok(writes)
}
