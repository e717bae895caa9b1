//! What more lanes are worth: a batch whose projection computes for 20 µs for each event, folded by
//! one lane and by two. Nothing else wants the cores meanwhile, unlike end to end, where Kafka,
//! MongoDB and the rest of the host do.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use projectionist::pipeline::cache::Cache;
use projectionist::pipeline::lane::{Fold, Folded, Lane};
use projectionist::pipeline::lanes::{Lanes, Placement};
use projectionist::pipeline::pending::TargetView;
use projectionist::plugin::{Engine, Limits, Program, Projection};
use projectionist::projection::Ownership;
use projectionist::record::{Event, Offset, TopicPartition};
use projectionist::store::ViewId;
use projectionist::store::embedded::EmbeddedStore;
use projectionist_benches::workload::calibrated_rounds;
use tokio::runtime::Runtime;

use guests::guest;
use settings::brief;

mod guests;
mod settings;

const EVENTS: usize = 1_000;

fn events() -> Vec<Arc<Event>> {
    (0..EVENTS)
        .map(|n| {
            let value = format!(r#"{{"n":{n},"at_us":0,"pad":"{}"}}"#, "x".repeat(160));
            let (key, value) = (format!("key-{n:04}"), value.into_bytes());
            let (key, value) = (Some(key.as_bytes()), Some(&value[..]));
            Arc::new(Event::new(Offset(n as i64), 0, key, value, Vec::new()))
        })
        .collect()
}

fn program() -> Arc<Program> {
    let bytes = guest("bench_latest");
    let engine = Arc::new(Engine::new().expect("this machine runs Wasm"));
    Program::load(&engine, "bench_latest", &bytes).expect("its file is in order")
}

fn lanes(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let folder = tempfile::tempdir().expect("there is room for a file");
    let store = EmbeddedStore::open(&folder.path().join("store")).expect("it can be made");
    let store = Arc::new(store);
    let (program, events) = (program(), events());
    let config = serde_json::json!({ "work_rounds": calibrated_rounds() });
    let view = TargetView {
        id: ViewId::new("latest", 1),
        ownership: Ownership::ByKey,
    };
    let views: Arc<[TargetView]> = [view].into();
    let start = |number: usize| {
        let limits = Limits::default();
        let projection = Projection::new(Arc::clone(&program), "bench", &config, limits);
        let projection = Box::new(projection.expect("it starts"));
        let _runtime = runtime.enter();
        let name = number.to_string();
        Lane::start(&name, projection, store.clone(), Arc::clone(&views)).expect("a thread starts")
    };

    let mut group = criterion.benchmark_group("lanes");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for count in [1, 2] {
        let lanes = Lanes::new((0..count).map(start).collect(), Placement::hash(count));
        let fold = || -> Folded {
            let fold = Fold {
                partition: TopicPartition::new("bench", 0),
                events: events.clone(),
                cache: Arc::new(Cache::new(1)),
            };
            runtime.block_on(lanes.fold(fold)).expect("the lanes run")
        };
        let output = fold().result.expect("the events can be folded");
        assert_eq!(output.writes.len(), EVENTS);
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(fold);
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = brief();
    targets = lanes
}
criterion_main!(benches);
