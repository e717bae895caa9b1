//! From a batch to its writes: the part of the SDK that decides, free of the host.
//!
//! 1. Decode each event once and collect the ids of its documents.
//! 2. Ask for all of these documents in one call.
//! 3. Fold the events in order, each document decoded when it is first touched.
//! 4. Write each touched document once, and hand over what the events sent.
//!
//! Guarantee: the writes and the messages are those of folding one event after the other, and
//! where an event is rejected, those of the events before it.

use crate::bindings::exports::projectionist::plugin::projection::Reject as RejectedEvent;
use crate::bindings::exports::projectionist::plugin::projection::{Batch, Output, Writes};
use crate::column::Column;
use crate::event::{Event, Source};
use crate::ids::{Ids, Interner};
use crate::message::Outbox;
use crate::projection::{Projection, Reject};

/// The stored documents.
pub(crate) trait Documents {
    /// One item per id, missing where no document exists.
    fn get_many(&mut self, ids: &Column) -> Column;
}

/// The events of a batch that touch documents, up to the first that cannot be read.
struct Decoded<'a, P: Projection> {
    events: Vec<Touching<'a, P>>,
    /// The documents that the events touch, by their index in `ids`.
    touched: Vec<u32>,
    ids: Interner,
    rejected: Option<RejectedEvent>,
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
}

pub(crate) fn project<P: Projection>(
    projection: &P,
    batch: &Batch,
    documents: &mut impl Documents,
) -> Result<Output, String> {
    let outbox = Outbox::default();
    let mut decoded = decode(projection, batch, &outbox);
    let sent_by_ids = outbox.len();
    let mut output = Output {
        writes: Writes {
            events: Vec::new(),
            views: Vec::new(),
            ids: Column::new(),
            documents: Column::new(),
        },
        messages: Vec::new(),
        rejects: Vec::new(),
    };
    let ids = decoded.ids.column();
    if ids.len() > 0 {
        let stored = documents.get_many(ids);
        let folded = match fold(projection, &decoded, &stored) {
            Ok(folded) => folded,
            Err(rejected) => {
                // The rejected event may have changed some of its documents, so once more
                // without it; and everything that is folded again sends again.
                outbox.truncate(sent_by_ids);
                decoded
                    .events
                    .retain(|touching| touching.index < rejected.event);
                decoded.rejected = Some(rejected);
                fold(projection, &decoded, &stored).map_err(|second| {
                    format!(
                        "event {} of the batch was folded once and rejected the second time \
                         ({}); a projection must not keep state of its own",
                        second.event, second.reason
                    )
                })?
            }
        };
        output.writes = writes(folded, decoded.ids.column(), &stored)?;
    }
    let end = decoded.rejected.as_ref().map(|rejected| rejected.event);
    output.messages = outbox.take_before(end);
    output.rejects.extend(decoded.rejected);
    Ok(output)
}

fn decode<'a, P: Projection>(
    projection: &P,
    batch: &'a Batch,
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
        rejected: None,
    };
    for ((index, key), value) in (0..).zip(batch.keys.iter()).zip(batch.values.iter()) {
        let before = decoded.touched.len();
        let mut ids = Ids::new(&mut decoded.ids, &mut decoded.touched);
        match read_event(projection, key, value, index, source, &mut ids) {
            Ok(_) if decoded.touched.len() == before => {}
            Ok(event) => decoded.events.push(Touching {
                event,
                index,
                touched_end: decoded.touched.len(),
            }),
            Err(reject) => {
                decoded.rejected = Some(RejectedEvent {
                    event: index,
                    reason: reject.into_reason(),
                });
                break;
            }
        }
    }
    decoded
}

fn read_event<'a, P: Projection>(
    projection: &P,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    index: u32,
    source: Source<'a>,
    ids: &mut Ids<'_>,
) -> Result<Event<'a, P::Event<'a>>, Reject> {
    let value = value
        .map(serde_json::from_slice)
        .transpose()
        .map_err(|error| {
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
    stored: &Column,
) -> Result<Vec<State<P::Document>>, RejectedEvent> {
    let ids = decoded.ids.column();
    let mut states: Vec<State<P::Document>> = Vec::new();
    states.resize_with(ids.len(), || State::Untouched);
    let mut start = 0;
    for touching in &decoded.events {
        for &number in &decoded.touched[start..touching.touched_end] {
            let id =
                str::from_utf8(ids.bytes_of(number as usize)).expect("ids are added as strings");
            let state = &mut states[number as usize];
            fold_one(projection, touching, id, state, || {
                stored.get(number as usize)
            })
            .map_err(|reject| RejectedEvent {
                event: touching.index,
                reason: reject.into_reason(),
            })?;
        }
        start = touching.touched_end;
    }
    Ok(states)
}

fn fold_one<'s, P: Projection>(
    projection: &P,
    touching: &Touching<'_, P>,
    id: &str,
    state: &mut State<P::Document>,
    stored: impl FnOnce() -> Option<&'s [u8]>,
) -> Result<(), Reject> {
    if let State::Untouched = state {
        let document = stored()
            .map(serde_json::from_slice)
            .transpose()
            .map_err(|error| {
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
        unreachable!("an untouched document has just been read");
    };
    *event = touching.index;
    projection.fold(&touching.event, id, document)
}

/// One write for each document that was folded, except where none existed and none shall.
fn writes<D: serde::Serialize>(
    states: Vec<State<D>>,
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
                serde_json::to_writer(&mut writes.documents.bytes, &document).map_err(|error| {
                    let id = String::from_utf8_lossy(ids.bytes_of(number));
                    format!("document \"{id}\" cannot be written as JSON: {error}")
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
