//! The messages of an answer.

use std::sync::Arc;

use bytes::Bytes;

use super::{ITEM_BYTES, Question, event_index, invalid};
use crate::plugin::bindings::raw;
use crate::plugin::fault::clip;
use crate::projection::{EVENT_ID_HEADER, Fault, MESSAGES_PER_EVENT_MAX, Message};
use crate::record::Header;

/// Of key, value and headers together: what a topic with Kafka's own `max.message.bytes` takes,
/// less what Kafka adds.
const MESSAGE_BYTES_MAX: usize = 1_000_000;

/// Kafka takes no longer name.
const TOPIC_BYTES_MAX: usize = 249;

/// Of one message. Each takes room of its own, however short it is.
const HEADERS_MAX: usize = 1_000;

/// Takes the messages over, in the order of their events.
pub(super) fn check(
    answer: &[raw::Message],
    question: &Question<'_>,
) -> Result<Vec<Message>, Fault> {
    if answer.len() > question.messages_max {
        let (messages, events) = (answer.len(), question.events.len());
        return Err(invalid(
            format!(
                "it has {messages} messages for {events} events, and may have {}; raise \
                 projections.{}.limits.messages-per-event if that is meant",
                question.messages_max, question.projection
            ),
            None,
        ));
    }
    let mut messages = answer
        .iter()
        .map(|message| one(message, question))
        .collect::<Result<Vec<_>, Fault>>()?;
    messages.sort_by_key(|message| message.event);
    for of_one_event in messages.chunk_by(|one, next| one.event == next.event) {
        if of_one_event.len() > MESSAGES_PER_EVENT_MAX {
            let problem = format!(
                "it has {} messages for one event, and no event may have more than \
                 {MESSAGES_PER_EVENT_MAX}",
                of_one_event.len()
            );
            return Err(invalid(problem, Some(of_one_event[0].event)));
        }
    }
    Ok(messages)
}

/// What a message takes.
pub(super) fn made_bytes(message: &Message) -> usize {
    let part = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = message.headers.iter();
    let headers = headers.map(|header| {
        let value = header.value.as_ref().map_or(0, |value| value.len());
        ITEM_BYTES + header.name.len() + value
    });
    ITEM_BYTES + part(&message.key) + part(&message.value) + headers.sum::<usize>()
}

fn one(message: &raw::Message, question: &Question<'_>) -> Result<Message, Fault> {
    let events = question.events.len();
    let Some(event) = event_index(message.event, events) else {
        let problem = format!(
            "a message names event {} of a batch of {events}",
            message.event
        );
        return Err(invalid(problem, None));
    };
    let blame = |problem: String| {
        let topic = clip(&message.topic, TOPIC_BYTES_MAX);
        let problem = format!("a message for topic \"{topic}\" {problem}");
        invalid(problem, Some(event))
    };

    let topic = allowed(&message.topic, question).map_err(blame)?;
    check_size(message).map_err(blame)?;
    let headers = message
        .headers
        .iter()
        .map(header)
        .collect::<Result<Vec<_>, String>>()
        .map_err(blame)?;
    Ok(Message {
        event,
        topic,
        key: message.key.as_deref().map(Bytes::copy_from_slice),
        value: message.value.as_deref().map(Bytes::copy_from_slice),
        headers,
    })
}

fn allowed(topic: &str, question: &Question<'_>) -> Result<Arc<str>, String> {
    let known = question.topics.iter().find(|known| &***known == topic);
    known.cloned().ok_or_else(|| {
        format!(
            "goes where the projection may not send; add the topic to \
             projections.{}.messages.topics if that is meant",
            question.projection
        )
    })
}

fn check_size(message: &raw::Message) -> Result<(), String> {
    let headers = message.headers.len();
    if headers > HEADERS_MAX {
        return Err(format!("has {headers} headers, and may have {HEADERS_MAX}"));
    }
    let part = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = message.headers.iter();
    let headers: usize = headers.map(|h| h.name.len() + h.value.len()).sum();
    let bytes = part(&message.key) + part(&message.value) + headers;
    if bytes > MESSAGE_BYTES_MAX {
        return Err(format!(
            "has {bytes} bytes, and may have {MESSAGE_BYTES_MAX}"
        ));
    }
    Ok(())
}

fn header(header: &raw::Header) -> Result<Header, String> {
    match header.name.as_str() {
        "" => Err("has a header without a name".to_owned()),
        EVENT_ID_HEADER => Err(format!(
            "has a header \"{EVENT_ID_HEADER}\", which the host sets itself"
        )),
        // librdkafka takes names as C strings.
        name if name.contains('\0') => Err(format!(
            "has a header whose name contains a zero byte: {name:?}"
        )),
        name => Ok(Header {
            name: name.into(),
            value: Some(header.value.as_slice().into()),
        }),
    }
}

#[cfg(test)]
mod tests;
