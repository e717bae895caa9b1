//! One record as it lies in librdkafka's memory.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaRespErr;

use crate::record::{Event, HeaderRef, LeaderEpoch, Offset};

/// A record, borrowed from the event that brought it.
///
/// Not a reference: librdkafka finds what else it knows of a record around it.
#[derive(Clone, Copy)]
pub(super) struct Message<'e> {
    message: NonNull<sys::rd_kafka_message_t>,
    event: PhantomData<&'e ()>,
}

/// The headers of a record that have a name which is text, in their order.
#[derive(Clone)]
struct Headers<'e> {
    /// Null where there are none.
    headers: *const sys::rd_kafka_headers_t,
    index: usize,
    message: PhantomData<Message<'e>>,
}

impl<'e> Message<'e> {
    /// # Safety
    ///
    /// `message` is a record that was fetched (not an error), and lives and stays as it is for
    /// `'e`, but for what librdkafka keeps around it.
    pub(super) unsafe fn new(message: NonNull<sys::rd_kafka_message_t>) -> Self {
        Message {
            message,
            event: PhantomData,
        }
    }

    pub(super) fn event(&self) -> Event {
        // SAFETY: the message is valid, and its key and value are `key_len` and `len` bytes that
        // live as long.
        let (offset, key, value) = unsafe {
            let message = self.message.as_ref();
            let key: Option<&'e [u8]> = bytes(message.key, message.key_len);
            let value: Option<&'e [u8]> = bytes(message.payload, message.len);
            (Offset(message.offset), key, value)
        };
        Event::copy(offset, self.timestamp_ms(), key, value, self.headers())
    }

    /// 0 where the record has none.
    fn timestamp_ms(&self) -> i64 {
        // SAFETY: the message is valid, and the kind of its timestamp is not asked for.
        match unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), ptr::null_mut()) } {
            -1 => 0,
            timestamp_ms => timestamp_ms,
        }
    }

    /// `None` where the record's batch is of a format that has none.
    pub(super) fn leader_epoch(&self) -> Option<LeaderEpoch> {
        // SAFETY: the message is valid.
        let epoch = unsafe { sys::rd_kafka_message_leader_epoch(self.message.as_ptr()) };
        (epoch >= 0).then_some(LeaderEpoch(epoch))
    }

    fn headers(&self) -> Headers<'e> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is valid. What is found belongs to it.
        let found = unsafe { sys::rd_kafka_message_headers(self.message.as_ptr(), &mut headers) };
        Headers {
            headers: match found {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => headers.cast_const(),
                // There are none, or what there is cannot be taken apart.
                _ => ptr::null(),
            },
            index: 0,
            message: PhantomData,
        }
    }
}

impl<'e> Iterator for Headers<'e> {
    type Item = HeaderRef<'e>;

    fn next(&mut self) -> Option<HeaderRef<'e>> {
        while !self.headers.is_null() {
            let (mut name, mut value, mut value_len) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the headers belong to the message, which lives. An index behind the last one
            // is answered with an error.
            let found = unsafe {
                sys::rd_kafka_header_get_all(
                    self.headers,
                    self.index,
                    &mut name,
                    &mut value,
                    &mut value_len,
                )
            };
            if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return None;
            }
            self.index += 1;
            // SAFETY: librdkafka ends each name with a zero byte; it lives as long as the message.
            let name: &'e CStr = unsafe { CStr::from_ptr(name) };
            // SAFETY: the value is null or so many bytes, which live as long as the message.
            let value = unsafe { bytes(value.cast_mut(), value_len) };
            if let Some(name) = as_text(name, value) {
                return Some(HeaderRef { name, value });
            }
        }
        None
    }
}

/// A header's name, where it is text, and all of it is known: librdkafka does not tell how long it
/// is, so one with a zero byte in it would pass for another. A value lies behind its name's end,
/// which shows such a one.
fn as_text<'e>(name: &'e CStr, value: Option<&[u8]>) -> Option<&'e str> {
    let behind = name.as_ptr().addr() + name.count_bytes() + 1;
    let is_whole = value.is_none_or(|value| value.as_ptr().addr() == behind);
    name.to_str().ok().filter(|_| is_whole)
}

/// # Safety
///
/// `start` is null, or the start of `len` bytes that live and stay as they are for `'e`.
unsafe fn bytes<'e>(start: *mut c_void, len: usize) -> Option<&'e [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: it is not null, and the caller vouches for the rest.
    Some(unsafe { std::slice::from_raw_parts(start.cast_const().cast(), len) })
}
