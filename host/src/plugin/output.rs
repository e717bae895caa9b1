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
    Body, Descriptor, DocumentId, DocumentKey, DocumentWrite, Encoding, Fault, FaultKind, Held,
    Output, Ownership, Rejected, ViewIndex,
};
use crate::record::Event;

use super::bindings::{Column, raw};
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
    /// Of all that is made of the answer.
    pub(super) bytes_max: usize,
    /// The projection's name, for the way out of a refusal.
    pub(super) projection: &'a str,
    /// The topics that the projection may send to.
    pub(super) topics: &'a [Arc<str>],
}

/// Why an answer is not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// More would be made of it than there is room for.
    TooMuch,
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Refusal::Fault(fault)
    }
}

/// Room for what is made of an answer.
struct Room {
    left: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.left = self.left.checked_sub(bytes).ok_or(Refusal::TooMuch)?;
        Ok(())
    }
}

/// What a document takes beside its id and its bodies, and a message beside its parts.
const ITEM_BYTES: usize = 320;

/// One write as the plugin gave it, before its parts are looked at.
struct Draft<'a> {
    event: u32,
    view: u32,
    id: Option<&'a [u8]>,
    document: Option<&'a [u8]>,
}

/// Takes the answer over, or says what is wrong with it.
pub(super) fn check(answer: &raw::Output, question: &Question<'_>) -> Result<Output, Refusal> {
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
    Err(Fault { rest, ..fault }.into())
}

/// What an answer takes as it was handed over.
pub(super) fn lifted_bytes(answer: &raw::Output) -> usize {
    let column =
        |column: &Column| column.bytes.len() + 4 * (column.ends.len() + column.missing.len());
    let raw::Writes {
        events,
        views,
        ids,
        documents,
    } = &answer.writes;
    let writes = column(ids) + column(documents) + 4 * (events.len() + views.len());
    let messages = answer.messages.iter().map(|message| {
        let headers = message.headers.iter();
        let headers =
            headers.map(|header| size_of_val(header) + header.name.len() + header.value.len());
        let parts = [&message.key, &message.value].map(|part| part.as_ref().map_or(0, Vec::len));
        let parts = parts.iter().sum::<usize>() + message.topic.len();
        size_of_val(message) + parts + headers.sum::<usize>()
    });
    let rejects = answer.rejects.iter();
    let rejects = rejects.map(|reject| size_of_val(reject) + reject.reason.len());
    writes + messages.sum::<usize>() + rejects.sum::<usize>()
}

/// What was made of an answer.
pub(super) fn made_bytes(output: &Output) -> usize {
    let writes = output.writes.iter().map(|write| {
        let body = write.body.as_ref();
        let body = body.map_or(0, |body| body.encoded.len() + body.bson.as_bytes().len());
        ITEM_BYTES + write.key.id.len() + body
    });
    let messages = output.messages.iter().map(messages::made_bytes);
    writes.sum::<usize>() + messages.sum::<usize>()
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

fn check_rest(answer: &raw::Output, question: &Question<'_>) -> Result<Output, Refusal> {
    check_counts(&answer.writes, question)?;
    let drafts = drafts(&answer.writes).map_err(|problem| invalid(problem, None))?;
    check_unique(&drafts)?;
    let mut room = Room {
        left: question.bytes_max,
    };
    let mut reader = JsonReader::default();
    let writes = drafts
        .iter()
        .map(|draft| {
            let write = write(draft, question, &mut reader)?;
            let body = write.body.as_ref();
            let body = body.map_or(0, |body| body.encoded.len() + body.bson.as_bytes().len());
            room.take(ITEM_BYTES + write.key.id.len() + body)?;
            Ok(write)
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    let messages = messages::check(&answer.messages, question)?;
    for message in &messages {
        room.take(messages::made_bytes(message))?;
    }
    Ok(Output {
        writes,
        messages,
        held: Held::default(),
    })
}

/// Looks at how many writes there are, before anything is made of them.
fn check_counts(writes: &raw::Writes, question: &Question<'_>) -> Result<(), Fault> {
    let (events, views) = (writes.events.len(), writes.views.len());
    let (ids, documents) = (writes.ids.ends.len(), writes.documents.ends.len());
    if [events, views, documents] != [ids; 3] {
        let problem = format!(
            "its lists differ in length: {events} events, {views} views, {ids} ids, {documents} \
             documents"
        );
        return Err(invalid(problem, None));
    }
    if ids > question.writes_max {
        let problem = format!(
            "it has {ids} writes for {} events, and may have {}",
            question.events.len(),
            question.writes_max
        );
        return Err(invalid(problem, None));
    }
    Ok(())
}

/// The fault that the rejects make, where there are any.
fn rejected(rejects: &[raw::Reject], events: usize) -> Result<Option<Fault>, Fault> {
    let mut rejected = Vec::with_capacity(rejects.len().min(REJECTS_MAX));
    for reject in rejects {
        let Some(event) = event_index(reject.event, events) else {
            let problem = format!(
                "it rejects event {} of a batch of {events}: {}",
                reject.event,
                clip(&reject.reason, TEXT_BYTES_MAX)
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
        ..fault(
            FaultKind::Rejected,
            clip(reason, TEXT_BYTES_MAX),
            Some(first),
        )
    }))
}

/// Puts the columns of the writes together again, which are of one length.
fn drafts(writes: &raw::Writes) -> Result<Vec<Draft<'_>>, String> {
    let ids = columns::split(&writes.ids)
        .map_err(|problem| format!("the column of ids is malformed: {problem}"))?;
    let documents = columns::split(&writes.documents)
        .map_err(|problem| format!("the column of documents is malformed: {problem}"))?;
    let (events, views) = (&writes.events, &writes.views);
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
            let id = draft.id.unwrap_or_default();
            let id = String::from_utf8_lossy(&id[..id.len().min(ID_BYTES_MAX)]);
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
    let text = std::str::from_utf8(id).map_err(|_| {
        let start = &id[..id.len().min(ID_BYTES_MAX)];
        format!("is not UTF-8: \"{}\"", start.escape_ascii())
    })?;
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
