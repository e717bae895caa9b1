//! What a call into a plugin costs, without the plugin's own work: the guest echoes the last
//! value of each key. One axis per group: how many events, and how large their values.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use projectionist::plugin::{Engine, Limits, Program, Projection};
use projectionist::projection::{Batch, Documents, HostError, Projector, ViewIndex};
use projectionist::record::{Event, Offset, TopicPartition};

use guests::guest;
use settings::brief;

mod guests;
mod settings;

struct Nothing;

impl Documents for Nothing {
    fn get_many(
        &mut self,
        _view: ViewIndex,
        ids: &[&str],
        _bytes_max: usize,
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError> {
        Ok(Some(vec![None; ids.len()]))
    }
}

fn echo() -> Projection {
    let bytes = guest("misbehaving");
    let engine = Arc::new(Engine::new().expect("this machine runs Wasm"));
    let program = Program::load(&engine, "misbehaving", &bytes).expect("its file is in order");
    Projection::new(program, "bench", &"echo".into(), Limits::default()).expect("it starts")
}

/// Events of distinct keys with JSON values of so many bytes.
fn events(count: usize, value_bytes: usize) -> Vec<Arc<Event>> {
    let value = format!(r#"{{"s":"{}"}}"#, "x".repeat(value_bytes - 8));
    assert_eq!(value.len(), value_bytes);
    (0..count)
        .map(|n| {
            let key = format!("key-{n:06}");
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            Arc::new(Event::new(Offset(n as i64), 0, key, value, Vec::new()))
        })
        .collect()
}

fn measure(
    criterion: &mut Criterion,
    group: &str,
    cases: &[(usize, usize)],
    by: fn(&(usize, usize)) -> usize,
) {
    let partition = TopicPartition::new("bench", 0);
    let mut projection = echo();
    let mut group = criterion.benchmark_group(group);
    for case in cases {
        let &(count, value_bytes) = case;
        let events = events(count, value_bytes);
        let batch = Batch {
            partition: &partition,
            events: &events,
        };
        let output = projection
            .project(batch, Box::new(Nothing))
            .expect("an echo");
        assert_eq!(output.writes.len(), count);
        for (write, event) in output.writes.iter().zip(&events) {
            let body = write.body.as_ref().expect("not a deletion");
            assert_eq!(Some(&body.encoded[..]), event.value());
        }

        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(by(case)), |bencher| {
            bencher.iter(|| {
                let documents = Box::new(Nothing);
                black_box(projection.project(batch, documents).expect("an echo"))
            });
        });
    }
    group.finish();
}

fn batch_size(criterion: &mut Criterion) {
    let cases = [(1, 62), (10, 62), (100, 62), (1_000, 62)];
    measure(criterion, "call/events", &cases, |case| case.0);
}

fn value_size(criterion: &mut Criterion) {
    let cases = [(100, 62), (100, 1_000), (100, 10_000)];
    measure(criterion, "call/value-bytes", &cases, |case| case.1);
}

criterion_group! {
    name = benches;
    config = brief();
    targets = batch_size, value_size
}
criterion_main!(benches);
