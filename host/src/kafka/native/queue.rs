//! librdkafka's queue of one partition.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;

use super::message::Message;
use super::text;
use crate::record::{Event, LeaderEpoch, NextOffset};

/// What comes out of a partition's queue, in the order of the partition.
#[derive(Debug)]
pub(in crate::kafka) enum Polled {
    Record(Event, Option<LeaderEpoch>),
    /// There is nothing before this position, for now, that has not come.
    End(NextOffset),
    Failed(Failure),
    /// Something else, which librdkafka has dealt with.
    Nothing,
}

/// What librdkafka reports of one partition.
#[derive(Clone, Debug)]
pub(in crate::kafka) struct Failure {
    pub(in crate::kafka) code: RDKafkaErrorCode,
    pub(in crate::kafka) text: String,
}

type Callback = Box<dyn Fn() + Send + Sync>;

/// A partition's queue. Dropping it leaves what is in it to the consumer. A partition has one at a
/// time: dropping one takes the callback away, also from another one that was made meanwhile.
pub(in crate::kafka) struct PartitionQueue<C: ConsumerContext + 'static> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// What librdkafka calls; it has a pointer to the inner box.
    _callback: Box<Callback>,
    /// The queue belongs to it.
    _consumer: Arc<BaseConsumer<C>>,
}

/// An event of librdkafka's.
struct QueueEvent(NonNull<sys::rd_kafka_event_t>);

impl<C: ConsumerContext + 'static> PartitionQueue<C> {
    /// Gives a partition a queue of its own. To be called before each assignment: once librdkafka
    /// fetches a partition, its records go to the consumer's queue, but where it was given one of
    /// its own before; that one it keeps from then on, assigned again or not.
    ///
    /// `arrived` is called, on a thread of librdkafka's, when something comes to an empty queue.
    /// `None` where there can be no such partition.
    pub(in crate::kafka) fn split(
        consumer: &Arc<BaseConsumer<C>>,
        topic: &str,
        partition: i32,
        arrived: impl Fn() + Send + Sync + 'static,
    ) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives, for `consumer` does, and the topic ends with a zero byte.
        let queue = unsafe { sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition) };
        let queue = NonNull::new(queue)?;
        let callback: Box<Callback> = Box::new(Box::new(arrived));
        let opaque = ptr::from_ref::<Callback>(&callback).cast_mut().cast();
        // SAFETY: the queue is ours. `call` gets a pointer to what the outer box holds, which stays
        // where it is until this queue is dropped; that ends the calls first.
        unsafe {
            sys::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(call), opaque);
        }
        Some(PartitionQueue {
            queue,
            _callback: callback,
            _consumer: Arc::clone(consumer),
        })
    }

    /// What is next, if there is anything; never waits.
    pub(in crate::kafka) fn poll(&self) -> Option<Polled> {
        // SAFETY: the queue is ours and lives.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), 0) };
        NonNull::new(event).map(|event| QueueEvent(event).read())
    }
}

impl<C: ConsumerContext + 'static> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        // SAFETY: the queue is ours and destroyed here alone. Its callback is taken away first,
        // under the queue's lock, under which it is called as well.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// # Safety
///
/// `callback` points to a [`Callback`].
unsafe extern "C" fn call(_client: *mut sys::rd_kafka_t, callback: *mut c_void) {
    // SAFETY: the caller vouches for it.
    let callback = unsafe { &*callback.cast_const().cast::<Callback>() };
    callback();
}

impl QueueEvent {
    fn read(&self) -> Polled {
        let event = self.0.as_ptr();
        // SAFETY: the event is ours and lives.
        match unsafe { sys::rd_kafka_event_type(event) } {
            sys::RD_KAFKA_EVENT_FETCH => self.record(),
            sys::RD_KAFKA_EVENT_ERROR => self.error(),
            _ => Polled::Nothing,
        }
    }

    fn record(&self) -> Polled {
        // SAFETY: the event is ours and lives. It has one message, which is its own.
        let message = unsafe { sys::rd_kafka_event_message_next(self.0.as_ptr()) };
        let Some(message) = NonNull::new(message.cast_mut()) else {
            return Polled::Nothing;
        };
        // SAFETY: an event of this type brings a record, which lives as long as the event.
        let message = unsafe { Message::new(message) };
        Polled::Record(message.event(), message.leader_epoch())
    }

    fn error(&self) -> Polled {
        let event = self.0.as_ptr();
        // SAFETY: the event is ours and lives, and so does its text.
        let (code, text) = unsafe {
            let code = sys::rd_kafka_event_error(event);
            (code, text(sys::rd_kafka_event_error_string(event)))
        };
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::PartitionEOF => self.offset().map_or(Polled::Nothing, Polled::End),
            code => Polled::Failed(Failure { code, text }),
        }
    }

    /// Where the error is.
    fn offset(&self) -> Option<NextOffset> {
        // SAFETY: the event is ours and lives. The answer is a copy, ours to destroy.
        let place = unsafe { sys::rd_kafka_event_topic_partition(self.0.as_ptr()) };
        let place = NonNull::new(place)?;
        // SAFETY: it is not null, and destroyed here alone.
        let offset = unsafe {
            let offset = place.as_ref().offset;
            sys::rd_kafka_topic_partition_destroy(place.as_ptr());
            offset
        };
        (offset >= 0).then_some(NextOffset(offset))
    }
}

impl Drop for QueueEvent {
    fn drop(&mut self) {
        // SAFETY: the event is ours and destroyed here alone; a record is borrowed from it.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}
