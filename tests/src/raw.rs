//! A producer of records as bytes: header names that are no text, timestamps of any kind, absent and
//! empty fields apart. rdkafka's own takes text for the names of headers.
//!
//! # Safety
//!
//! The only code of the tests that calls librdkafka directly. What it hands over is copied during
//! the call, but for the headers, which librdkafka takes over where it takes the record.
#![expect(
    unsafe_code,
    reason = "librdkafka is a library of C, and rdkafka takes text for a header's name"
)]

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A record to produce.
#[derive(Clone, Debug, Default)]
pub struct RawRecord {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// 0 for the time of the call.
    pub timestamp_ms: i64,
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Commit,
    Abort,
}

/// Sends records in their order.
pub struct RawProducer {
    producer: ThreadedProducer<Reports>,
    reports: Reports,
    sent: Mutex<usize>,
}

/// What became of the records, by the order in which they were sent: the offset, or the error's text.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<BTreeMap<usize, Result<i64, String>>>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.to_string()),
        };
        let mut reports = self.0.lock().expect("no callback panics");
        reports.insert(number, result);
    }
}

impl RawProducer {
    pub fn new(mut config: ClientConfig) -> anyhow::Result<Self> {
        let reports = Reports::default();
        let producer: ThreadedProducer<Reports> = config
            .set("enable.idempotence", "true")
            .set("message.max.bytes", "50000000")
            .create_with_context(reports.clone())?;
        if config.get("transactional.id").is_some() {
            producer.init_transactions(TIMEOUT)?;
        }
        Ok(RawProducer {
            producer,
            reports,
            sent: Mutex::new(0),
        })
    }

    /// Puts a record into librdkafka's queue, and answers its number.
    pub fn send(&self, topic: &str, record: &RawRecord) -> anyhow::Result<usize> {
        let topic = CString::new(topic)?;
        let mut sent = self.sent.lock().expect("nothing panics under this lock");
        let number = *sent;
        let mem = |bytes: &Option<Vec<u8>>| sys::rd_kafka_vu_s__bindgen_ty_1 {
            mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                ptr: bytes.as_deref().map_or(ptr::null_mut(), start),
                size: bytes.as_ref().map_or(0, Vec::len),
            },
        };
        let headers = headers(&record.headers);
        use sys::rd_kafka_vtype_t as kind;
        use sys::rd_kafka_vu_s__bindgen_ty_1 as argument;
        let arguments = [
            (
                kind::RD_KAFKA_VTYPE_TOPIC,
                argument {
                    cstr: topic.as_ptr(),
                },
            ),
            (
                kind::RD_KAFKA_VTYPE_PARTITION,
                argument {
                    i32_: record.partition,
                },
            ),
            (kind::RD_KAFKA_VTYPE_KEY, mem(&record.key)),
            (kind::RD_KAFKA_VTYPE_VALUE, mem(&record.value)),
            (
                kind::RD_KAFKA_VTYPE_TIMESTAMP,
                argument {
                    i64_: record.timestamp_ms,
                },
            ),
            (kind::RD_KAFKA_VTYPE_HEADERS, argument { headers }),
            (
                kind::RD_KAFKA_VTYPE_MSGFLAGS,
                argument {
                    i: sys::RD_KAFKA_MSG_F_COPY,
                },
            ),
            (
                kind::RD_KAFKA_VTYPE_OPAQUE,
                argument {
                    ptr: ptr::without_provenance_mut(number),
                },
            ),
        ];
        let arguments = arguments.map(|(vtype, u)| sys::rd_kafka_vu_t { vtype, u });
        let client = self.producer.client().native_ptr();
        // SAFETY: the client lives, and every argument is of the kind that is said, and lives.
        let error = unsafe { sys::rd_kafka_produceva(client, arguments.as_ptr(), arguments.len()) };
        if error.is_null() {
            *sent += 1;
            return Ok(number);
        }
        // SAFETY: the error is ours to destroy, and so are the headers of a record that was refused.
        let code = unsafe {
            let code = sys::rd_kafka_error_code(error);
            sys::rd_kafka_error_destroy(error);
            sys::rd_kafka_headers_destroy(headers);
            code
        };
        anyhow::bail!("a record is refused: {code:?}")
    }

    /// Waits until all that was sent has its answer, and tells what became of it, by number.
    pub fn flush(&self) -> anyhow::Result<BTreeMap<usize, Result<i64, String>>> {
        self.producer.flush(TIMEOUT)?;
        let mut reports = self.reports.0.lock().expect("no callback panics");
        Ok(std::mem::take(&mut *reports))
    }

    /// Sends what `fill` sends in one transaction, and ends it. The producer needs a `transactional.id`.
    pub fn transact(
        &self,
        end: End,
        fill: impl FnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<BTreeMap<usize, Result<i64, String>>> {
        self.producer.begin_transaction()?;
        fill(self)?;
        let reports = self.flush()?;
        match end {
            End::Commit => self.producer.commit_transaction(TIMEOUT)?,
            End::Abort => self.producer.abort_transaction(TIMEOUT)?,
        }
        Ok(reports)
    }
}

fn headers(headers: &[(Vec<u8>, Option<Vec<u8>>)]) -> *mut sys::rd_kafka_headers_t {
    // SAFETY: it makes an empty list, which belongs to whoever asks.
    let list = unsafe { sys::rd_kafka_headers_new(headers.len()) };
    for (name, value) in headers {
        let value_start = value.as_deref().map_or(ptr::null_mut(), start);
        let value_len = value.as_ref().map_or(0, Vec::len).cast_signed();
        // SAFETY: the list is ours; name and value are so many bytes, which are copied.
        unsafe {
            sys::rd_kafka_header_add(
                list,
                name.as_ptr().cast(),
                name.len().cast_signed(),
                value_start.cast_const(),
                value_len,
            );
        }
    }
    list
}

/// Not null, also where there are no bytes: that is what tells empty from absent.
fn start(bytes: &[u8]) -> *mut c_void {
    bytes.as_ptr().cast_mut().cast()
}
