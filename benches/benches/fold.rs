//! What a fold in Wasm costs beside the same fold in native code. Events are 200 bytes of JSON,
//! and every document that they touch is stored already.
//!
//! - `fold/events`: the departures of the flights example, each for an aircraft of its own.
//!   `wasm` is all that the host does for it: the batch into the guest, `get-many`, the SDK, the
//!   answer checked, each document as JSON and as BSON. `native` is a projector without Wasm and
//!   without the SDK that gives the same answer.
//! - `fold/documents`: the same with a thousand events for fewer aircraft.
//! - `fold/encoding`: a thousand small documents, as JSON and as BSON.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use projectionist::plugin::{Engine, Limits, Program, Projection};
use projectionist::projection::{
    Batch, DocumentWrite, Documents, HostError, Output, Projector, ViewIndex,
};
use projectionist::record::{Event, Offset, TopicPartition};

use guests::guest;
use native::Fleet;
use settings::brief;

mod guests;
mod native;
mod settings;

const VALUE_BYTES: usize = 200;

/// The documents of the events before, as the pipeline's cache has them.
#[derive(Clone, Default)]
struct Stored(Arc<HashMap<String, Bytes>>);

impl Stored {
    fn of(output: &Output) -> Self {
        let documents = output.writes.iter().map(|write| {
            let body = write.body.as_ref().expect("no aircraft is removed");
            (write.key.id.to_string(), body.encoded.clone())
        });
        Stored(Arc::new(documents.collect()))
    }
}

impl Documents for Stored {
    fn get_many(
        &mut self,
        _view: ViewIndex,
        ids: &[&str],
        _bytes_max: usize,
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError> {
        Ok(Some(
            ids.iter().map(|&id| self.0.get(id).cloned()).collect(),
        ))
    }
}

/// A projection without a configuration.
fn wasm(name: &str) -> Projection {
    let bytes = guest(name);
    let engine = Arc::new(Engine::new().expect("this machine runs Wasm"));
    let program = Program::load(&engine, name, &bytes).expect("its file is in order");
    let config = serde_json::json!({});
    Projection::new(program, "bench", &config, Limits::default()).expect("it starts")
}

/// An event of so many bytes, whose value starts so.
fn event(number: usize, key: &str, start: &str) -> Arc<Event> {
    let padding = "x".repeat(VALUE_BYTES - start.len() - r#","remark":""}"#.len());
    let value = format!(r#"{start},"remark":"{padding}"}}"#);
    assert_eq!(value.len(), VALUE_BYTES);
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    Arc::new(Event::new(Offset(number as i64), 0, key, value, Vec::new()))
}

fn departures(count: usize, aircraft: usize) -> Vec<Arc<Event>> {
    (0..count)
        .map(|n| {
            let (time, delay, flight, distance) =
                (500 + n % 60, n % 90, 1_000 + n, 1_000 + n % 900);
            let start = format!(
                r#"{{"year":2013,"month":1,"day":1,"dep_time":{time},"dep_delay":{delay},"carrier":"UA","flight":{flight},"origin":"EWR","dest":"IAH","distance":{distance}"#
            );
            event(n, &format!("N{:05}", n % aircraft), &start)
        })
        .collect()
}

fn numbers(count: usize) -> Vec<Arc<Event>> {
    (0..count)
        .map(|n| {
            event(
                n,
                &format!("key-{n:05}"),
                &format!(r#"{{"id":"id-{n}","n":{n}"#),
            )
        })
        .collect()
}

/// What folds the same events again and again, on top of what they came to before.
struct Fold<P> {
    projector: P,
    events: Vec<Arc<Event>>,
    stored: Stored,
}

impl<P: Projector> Fold<P> {
    fn new(projector: P, events: Vec<Arc<Event>>) -> Self {
        let mut fold = Fold {
            projector,
            events,
            stored: Stored::default(),
        };
        fold.stored = Stored::of(&fold.run());
        fold
    }

    fn run(&mut self) -> Output {
        let batch = Batch {
            partition: &TopicPartition::new("bench", 0),
            events: &self.events,
        };
        let documents = Box::new(self.stored.clone());
        let output = self.projector.project(batch, documents);
        output.expect("the events can be folded")
    }
}

/// `wasm` and `native` side by side, for these events.
fn compare(
    group: &mut BenchmarkGroup<'_, WallTime>,
    parameter: usize,
    events: impl Fn() -> Vec<Arc<Event>>,
) {
    let mut wasm = Fold::new(wasm("aircraft"), events());
    let mut native = Fold::new(Fleet::default(), events());
    assert_eq!(wasm.run(), native.run());
    group.throughput(Throughput::Elements(wasm.events.len() as u64));
    group.bench_function(BenchmarkId::new("wasm", parameter), |bencher| {
        bencher.iter(|| black_box(wasm.run()));
    });
    group.bench_function(BenchmarkId::new("native", parameter), |bencher| {
        bencher.iter(|| black_box(native.run()));
    });
}

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fold/events");
    for count in [1, 10, 100, 1_000, 10_000] {
        compare(&mut group, count, || departures(count, count));
    }
    group.finish();
}

fn documents(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fold/documents");
    for aircraft in [1, 10, 100] {
        compare(&mut group, aircraft, || departures(1_000, aircraft));
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let stored = |output: &Output| {
        let body = |write: &DocumentWrite| write.body.as_ref().map(|body| body.bson.clone());
        output.writes.iter().map(body).collect::<Vec<_>>()
    };
    let mut group = criterion.benchmark_group("fold/encoding");
    let [mut json, mut bson] =
        ["tally", "tally_bson"].map(|guest| Fold::new(wasm(guest), numbers(1_000)));
    assert_eq!(stored(&json.run()), stored(&bson.run()));
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("json", |bencher| {
        bencher.iter(|| black_box(json.run()));
    });
    group.bench_function("bson", |bencher| {
        bencher.iter(|| black_box(bson.run()));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = brief();
    targets = events, documents, encoding
}
criterion_main!(benches);
