//! The id of a topic (KIP-516): another one once the topic was deleted and made again.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataBroker;
use rdkafka::types::RDKafkaRespErr;

use crate::record::TopicId;

/// A queue for one answer.
struct Answers(NonNull<sys::rd_kafka_queue_t>);

/// What comes to it.
struct Answer(NonNull<sys::rd_kafka_event_t>);

/// The names that are asked about.
struct Names(NonNull<sys::rd_kafka_TopicCollection_t>);

/// Who is asked.
struct Options(NonNull<sys::rd_kafka_AdminOptions_t>);

/// Asks for a topic's id, and waits for the answer. `None` where brokers are too old to tell, or
/// there is no such topic.
pub(in crate::kafka) fn id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<TopicId>, KafkaError> {
    let options = Options::of_broker(client, broker(client, topic, timeout)?)?;
    let invalid = || KafkaError::MetadataFetch(RDKafkaErrorCode::InvalidTopic);
    let topic = CString::new(topic).map_err(|_| invalid())?;
    let mut names = [topic.as_ptr()];
    // SAFETY: there is one name, which ends with a zero byte; it is copied.
    let names = unsafe { sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1) };
    let names = Names(NonNull::new(names).ok_or_else(invalid)?);
    // SAFETY: the client lives.
    let answers = unsafe { sys::rd_kafka_queue_new(client.native_ptr()) };
    let answers = Answers(NonNull::new(answers).ok_or_else(invalid)?);
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: client, names, options and queue live; names and options are copied. The request
    // keeps the queue, so an answer that comes after our time is dropped with it.
    let answer = unsafe {
        let (names, options) = (names.0.as_ptr(), options.0.as_ptr());
        let answers = answers.0.as_ptr();
        sys::rd_kafka_DescribeTopics(client.native_ptr(), names, options, answers);
        sys::rd_kafka_queue_poll(answers, timeout_ms)
    };
    let timed_out = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
    Answer(NonNull::new(answer).ok_or(timed_out)?).id()
}

/// One that answers. Left alone, librdkafka would ask the controller, which every broker can stand in
/// for, and which a cluster may be without: for a while, or, as in this process (`mock`), for ever.
fn broker<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<i32, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    let listed = metadata.brokers().iter().map(MetadataBroker::id);
    // One that was reached by its address alone has no number yet.
    let mut all = std::iter::once(metadata.orig_broker_id()).chain(listed);
    let none = KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerNotAvailable);
    all.find(|id| *id >= 0).ok_or(none)
}

impl Options {
    fn of_broker<C: ClientContext>(client: &Client<C>, broker: i32) -> Result<Self, KafkaError> {
        let invalid = || KafkaError::MetadataFetch(RDKafkaErrorCode::InvalidArgument);
        let api = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        // SAFETY: the client lives.
        let options = unsafe { sys::rd_kafka_AdminOptions_new(client.native_ptr(), api) };
        let options = Options(NonNull::new(options).ok_or_else(invalid)?);
        // SAFETY: the options are ours; a text of no bytes has no room for why it failed.
        let failed = unsafe {
            sys::rd_kafka_AdminOptions_set_broker(options.0.as_ptr(), broker, ptr::null_mut(), 0)
        };
        match failed {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(options),
            code => Err(KafkaError::MetadataFetch(code.into())),
        }
    }
}

impl Answer {
    fn id(&self) -> Result<Option<TopicId>, KafkaError> {
        let event = self.0.as_ptr();
        // SAFETY: the event is ours and lives.
        let failed = unsafe { sys::rd_kafka_event_error(event) };
        if failed != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return known(failed.into());
        }
        // SAFETY: the event is ours and lives. Null, or the result, which is its own.
        let result = unsafe { sys::rd_kafka_event_DescribeTopics_result(event) };
        if result.is_null() {
            return Ok(None);
        }
        let mut count = 0;
        // SAFETY: the result lives; the topics are `count` pointers that belong to it.
        let topics = unsafe { sys::rd_kafka_DescribeTopics_result_topics(result, &mut count) };
        if topics.is_null() || count == 0 {
            return Ok(None);
        }
        // SAFETY: there is a first topic, which lives as long as the result. Its error is null or
        // lives as long, and its id is null or does.
        unsafe {
            let topic = *topics;
            let error = sys::rd_kafka_TopicDescription_error(topic);
            if !error.is_null() {
                let code = RDKafkaErrorCode::from(sys::rd_kafka_error_code(error));
                return known(code);
            }
            let id = sys::rd_kafka_TopicDescription_topic_id(topic);
            if id.is_null() {
                return Ok(None);
            }
            let (high, low) = (
                sys::rd_kafka_Uuid_most_significant_bits(id),
                sys::rd_kafka_Uuid_least_significant_bits(id),
            );
            Ok(TopicId::from_halves(high, low))
        }
    }
}

/// What an error of one topic means for its id.
fn known(code: RDKafkaErrorCode) -> Result<Option<TopicId>, KafkaError> {
    match code {
        RDKafkaErrorCode::NoError
        // Brokers from before there were ids.
        | RDKafkaErrorCode::UnsupportedVersion
        | RDKafkaErrorCode::UnsupportedFeature
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicOrPartition => Ok(None),
        code => Err(KafkaError::MetadataFetch(code)),
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // SAFETY: the queue is ours and destroyed here alone.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is ours and destroyed here alone.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: the options are ours and destroyed here alone.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) };
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // SAFETY: the names are ours and destroyed here alone.
        unsafe { sys::rd_kafka_TopicCollection_destroy(self.0.as_ptr()) };
    }
}
