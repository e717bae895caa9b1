//! What the engine costs apart from calls: to compile a plugin's file, to start an instance, to
//! change over to another version. One axis: the size of the plugin's file, and its language's
//! runtime with it.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use projectionist::plugin::{Engine, Limits, Program, Projection};
use projectionist::projection::{Batch, Documents, HostError, Projector, ViewIndex};
use projectionist::record::{Event, Offset, TopicPartition};

use guests::guest;
use settings::brief;

mod guests;
mod settings;

/// Guests in Rust, from small to large.
const GUESTS: [&str; 2] = ["tally", "count"];

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

fn engine() -> Arc<Engine> {
    Arc::new(Engine::new().expect("this machine runs Wasm"))
}

fn load(engine: &Arc<Engine>, name: &str, bytes: &[u8]) -> Arc<Program> {
    Program::load(engine, name, bytes).expect("its file is in order")
}

fn start(program: &Arc<Program>) -> Projection {
    let config = serde_json::json!({});
    Projection::new(program.clone(), "bench", &config, Limits::default()).expect("it starts")
}

fn compile(criterion: &mut Criterion) {
    let engine = engine();
    let mut group = criterion.benchmark_group("engine/compile");
    group.sample_size(10);
    for name in GUESTS {
        let bytes = guest(name);
        assert_eq!(load(&engine, name, &bytes).descriptor().views.len(), 1);
        group.bench_function(BenchmarkId::from_parameter(bytes.len()), |bencher| {
            bencher.iter(|| black_box(load(&engine, name, &bytes)));
        });
    }
    group.finish();
}

/// From nothing to a configured instance, and its end.
fn instantiate(criterion: &mut Criterion) {
    let engine = engine();
    let mut group = criterion.benchmark_group("engine/instantiate");
    for name in GUESTS {
        let bytes = guest(name);
        let program = load(&engine, name, &bytes);
        group.bench_function(BenchmarkId::from_parameter(bytes.len()), |bencher| {
            bencher.iter(|| drop(black_box(start(&program))));
        });
    }
    group.finish();
}

/// From the last answer of one version to the first answer of the next: it starts and folds an
/// event, then the old one ends.
fn swap(criterion: &mut Criterion) {
    let engine = engine();
    let bytes = guest("tally");
    let versions = [(); 2].map(|()| load(&engine, "tally", &bytes));
    let partition = TopicPartition::new("bench", 0);
    let (key, value) = (Some(&b"k"[..]), Some(&br#"{"n":1}"#[..]));
    let events = [Arc::new(Event::new(Offset(0), 0, key, value, Vec::new()))];
    let fold = |projection: &mut Projection| {
        let batch = Batch {
            partition: &partition,
            events: &events,
        };
        let output = projection.project(batch, Box::new(Nothing));
        assert_eq!(output.expect("a number").writes.len(), 1);
    };
    let mut group = criterion.benchmark_group("engine/swap");
    group.bench_function("first event", |bencher| {
        bencher.iter_batched(
            || {
                let mut old = start(&versions[0]);
                fold(&mut old);
                old
            },
            |old| {
                let mut new = start(&versions[1]);
                fold(&mut new);
                drop(old);
                new
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = brief();
    targets = compile, instantiate, swap
}
criterion_main!(benches);
