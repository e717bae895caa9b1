//! Checks a plugin's answer against the contract, down to the last byte.
//!
//! Pure. Nothing that a plugin can answer makes it panic, and what it lets through has valid
//! views and events, each document once, bodies that every store takes, and messages that Kafka
//! takes and the configuration allows (`messages`).

use std::sync::Arc;

use bytes::Bytes;

use crate::document::{self, JsonReader};
use crate::fast_hash::FastSet;
use crate::projection::{
    Body, Descriptor, DocumentId, DocumentKey, DocumentWrite, Encoding, Fault, FaultKind, Output,
    Ownership, Rejected, ViewIndex,
};
use crate::record::Event;

use super::bindings::raw;
use super::columns;
use super::fault::{TEXT_BYTES_MAX, clip, fault};

mod messages;

/// An id becomes an index key, and part of log lines and addresses.
const ID_BYTES_MAX: usize = 1024;

/// Of the rejected events of a batch that are looked at; later ones are named again when the batch
/// is folded without these. It bounds what their reasons take.
const REJECTS_MAX: usize = 1_000;

/// What the plugin was asked.
pub(super) struct Question<'a> {
    pub(super) descriptor: &'a Descriptor,
    pub(super) events: &'a [Arc<Event>],
    pub(super) writes_max: usize,
    pub(super) messages_max: usize,
    /// The projection's name, for the way out of a refusal.
    pub(super) projection: &'a str,
    /// The topics that the projection may send to.
    pub(super) topics: &'a [Arc<str>],
}

/// One write as the plugin gave it, before its parts are looked at.
struct Draft<'a> {
    event: u32,
    view: u32,
    id: Option<&'a [u8]>,
    document: Option<&'a [u8]>,
}

/// Takes the answer over, or says what is wrong with it.
pub(super) fn check(answer: &raw::Output, question: &Question<'_>) -> Result<Output, Fault> {
    let rejected = rejected(&answer.rejects, question.events.len())?;
    let output = check_rest(answer, question)?;
    let Some(fault) = rejected else {
        return Ok(output);
    };
    let nothing = output.writes.is_empty() && output.messages.is_empty();
    // Those that are named beyond the limit are left out of it as well, and nobody knows which.
    let rest = (!nothing && answer.rejects.len() <= REJECTS_MAX).then(|| Box::new(output));
    if let Some(rest) = &rest {
        check_left_out(rest, &fault, question.events)?;
    }
    Err(Fault { rest, ..fault })
}

/// Nothing may follow from an event that is left out.
fn check_left_out(rest: &Output, fault: &Fault, events: &[Arc<Event>]) -> Result<(), Fault> {
    let left_out = fault.left_out(events);
    let writes = rest.writes.iter().map(|write| write.event);
    let messages = rest.messages.iter().map(|message| message.event);
    match writes
        .chain(messages)
        .find(|event| left_out.contains(event))
    {
        Some(event) => Err(invalid(
            format!(
                "something follows from event {event}, which it rejects, or which comes behind a \
                 rejected one of its key"
            ),
            Some(event),
        )),
        None => Ok(()),
    }
}

fn check_rest(answer: &raw::Output, question: &Question<'_>) -> Result<Output, Fault> {
    let drafts = drafts(&answer.writes).map_err(|problem| invalid(problem, None))?;
    if drafts.len() > question.writes_max {
        let (writes, events) = (drafts.len(), question.events.len());
        return Err(invalid(
            format!(
                "it has {writes} writes for {events} events, and may have {}",
                question.writes_max
            ),
            None,
        ));
    }
    check_unique(&drafts)?;
    let mut reader = JsonReader::default();
    let writes = drafts
        .iter()
        .map(|draft| write(draft, question, &mut reader))
        .collect::<Result<Vec<_>, Fault>>()?;
    Ok(Output {
        writes,
        messages: messages::check(&answer.messages, question)?,
    })
}

/// The fault that the rejects make, where there are any.
fn rejected(rejects: &[raw::Reject], events: usize) -> Result<Option<Fault>, Fault> {
    let mut rejected = Vec::with_capacity(rejects.len().min(REJECTS_MAX));
    for reject in rejects {
        let Some(event) = event_index(reject.event, events) else {
            let problem = format!(
                "it rejects event {} of a batch of {events}: {}",
                reject.event, reject.reason
            );
            return Err(invalid(problem, None));
        };
        rejected.push((event, reject.reason.as_str()));
    }
    // What is named twice keeps its first reason.
    rejected.sort_by_key(|(event, _)| *event);
    rejected.dedup_by_key(|(event, _)| *event);
    rejected.truncate(REJECTS_MAX);
    let mut rejected = rejected.into_iter();
    let Some((first, reason)) = rejected.next() else {
        return Ok(None);
    };
    let also = rejected.map(|(event, reason)| Rejected {
        event,
        detail: clip(reason, TEXT_BYTES_MAX).to_owned(),
    });
    Ok(Some(Fault {
        also: also.collect(),
        ..fault(FaultKind::Rejected, reason, Some(first))
    }))
}

/// Puts the columns of the writes together again.
fn drafts(writes: &raw::Writes) -> Result<Vec<Draft<'_>>, String> {
    let ids = columns::split(&writes.ids)
        .map_err(|problem| format!("the column of ids is malformed: {problem}"))?;
    let documents = columns::split(&writes.documents)
        .map_err(|problem| format!("the column of documents is malformed: {problem}"))?;
    let (events, views) = (&writes.events, &writes.views);
    let count = ids.len();
    if [events.len(), views.len(), documents.len()] != [count; 3] {
        return Err(format!(
            "its lists differ in length: {} events, {} views, {count} ids, {} documents",
            events.len(),
            views.len(),
            documents.len()
        ));
    }
    let drafts = events.iter().zip(views).zip(ids).zip(documents);
    Ok(drafts
        .map(|(((&event, &view), id), document)| Draft {
            event,
            view,
            id,
            document,
        })
        .collect())
}

fn check_unique(drafts: &[Draft<'_>]) -> Result<(), Fault> {
    let mut seen = FastSet::with_capacity_and_hasher(drafts.len(), Default::default());
    for draft in drafts {
        if !seen.insert((draft.view, draft.id)) {
            let id = String::from_utf8_lossy(draft.id.unwrap_or_default());
            return Err(invalid(
                format!(
                    "it writes document \"{id}\" of view {} twice; a batch gives each document once",
                    draft.view
                ),
                None,
            ));
        }
    }
    Ok(())
}

fn write(
    draft: &Draft<'_>,
    question: &Question<'_>,
    reader: &mut JsonReader,
) -> Result<DocumentWrite, Fault> {
    let events = question.events.len();
    let Some(event) = event_index(draft.event, events) else {
        let problem = format!("a write names event {} of a batch of {events}", draft.event);
        return Err(invalid(problem, None));
    };
    let blame = |problem: String| invalid(problem, Some(event));

    let views = &question.descriptor.views;
    let view = views.get(draft.view as usize).ok_or_else(|| {
        let known = views.len();
        blame(format!(
            "a write goes to view {}, and it declared {known} (counted from 0)",
            draft.view
        ))
    })?;
    let id = check_id(draft.id)
        .map_err(|problem| blame(format!("an id for view \"{}\" {problem}", view.name)))?;
    if view.ownership == Ownership::ByKey {
        check_owner(id, &question.events[event]).map_err(|problem| {
            blame(format!(
                "document \"{id}\" of view \"{}\" {problem}",
                view.name
            ))
        })?;
    }
    let body = draft
        .document
        .map(|bytes| body(bytes, question.descriptor.encoding, reader))
        .transpose()
        .map_err(|error| {
            blame(format!(
                "document \"{id}\" of view \"{}\" cannot be stored: {error}",
                view.name
            ))
        })?;
    Ok(DocumentWrite {
        key: DocumentKey {
            view: ViewIndex(draft.view),
            id: DocumentId::from(id),
        },
        event,
        body,
    })
}

fn check_id(id: Option<&[u8]>) -> Result<&str, String> {
    let id = id.ok_or("is missing")?;
    let text =
        std::str::from_utf8(id).map_err(|_| format!("is not UTF-8: \"{}\"", id.escape_ascii()))?;
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > ID_BYTES_MAX {
        return Err(format!(
            "has {} bytes, and may have {ID_BYTES_MAX}",
            text.len()
        ));
    }
    Ok(text)
}

/// Only the key's own partition may write a `by-key` document, and what shows that a document
/// belongs here is an event: the blamed one, as the last that shaped it, has its id as key.
fn check_owner(id: &str, event: &Event) -> Result<(), String> {
    match event.key() {
        Some(key) if key == id.as_bytes() => Ok(()),
        Some(key) => Err(format!(
            "was shaped by an event with the key \"{}\"; in a view \"by-key\" they are the same, else declare it \"shared\"",
            key[..key.len().min(ID_BYTES_MAX)].escape_ascii()
        )),
        None => Err(
            "was shaped by an event without a key; such a view is \"shared\", not \"by-key\""
                .to_owned(),
        ),
    }
}

/// Copies the bytes out of the answer, so that one cached document does not keep all of it.
fn body(
    bytes: &[u8],
    encoding: Encoding,
    reader: &mut JsonReader,
) -> Result<Body, document::Error> {
    match encoding {
        Encoding::Json => {
            let document::FromJson { body, is_respelled } = reader.read(bytes)?;
            let encoded = if is_respelled {
                Bytes::from(document::to_json(&body)?)
            } else {
                Bytes::copy_from_slice(bytes)
            };
            Ok(Body {
                encoded,
                bson: body,
            })
        }
        Encoding::Bson => {
            let bson = document::from_bson(bytes)?;
            Ok(Body {
                encoded: Bytes::copy_from_slice(bson.as_bytes()),
                bson,
            })
        }
    }
}

fn event_index(event: u32, events: usize) -> Option<usize> {
    Some(event as usize).filter(|&index| index < events)
}

fn invalid(problem: String, event: Option<usize>) -> Fault {
    fault(FaultKind::InvalidOutput, problem, event)
}

#[cfg(test)]
mod tests;
