//! What it costs to pick a copy for a read, everything included: health, the policy's call, the
//! check of its answer, and taking note of how the read went. One axis: how many copies.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use projectionist::balance::{Balancer, Outcome};
use projectionist::plugin::{Engine, Kind, Policy, Routing};
use projectionist::policy::{Request, RoutingPolicy, Source, Target, TargetId};
use serde_json::json;

use guests::guest;

mod guests;

const REQUEST: Request<'static> = Request {
    key: b"aircraft-N12345",
    client: "192.168.17.23",
    tried: &[],
};

/// `None` is the built-in policy.
const POLICIES: [(&str, Option<&str>); 4] = [
    ("built-in", None),
    ("first", Some("routing_first")),
    ("round-robin", Some("round_robin")),
    ("least-time", Some("least_time")),
];

fn source(file: &str) -> Arc<dyn Source<dyn RoutingPolicy>> {
    let bytes = guest(file);
    let engine = Arc::new(Engine::new().expect("this machine runs Wasm"));
    let policy = Policy::load(&engine, file, &bytes, Kind::Routing).expect("its file is in order");
    Arc::new(Routing::new(policy, "bench", &json!({})).expect("it has no settings"))
}

fn copies(count: u32) -> Vec<Target> {
    let copy = |id| Target::new(TargetId(id), &format!("mongodb-{id}.example.org:27017"), 1);
    (0..count).map(copy).collect()
}

/// The policy works, and is not the built-in one that stands in for it.
fn check(balancer: &Balancer, ids: &[TargetId], now: Instant) {
    for _ in 0..100 {
        let pick = balancer.pick(&REQUEST, ids, now);
        balancer.done(pick, Duration::from_micros(500), Outcome::Answered);
    }
    let served: u64 = balancer.targets().iter().map(|target| target.served).sum();
    assert_eq!(served, 100);
}

fn pick(criterion: &mut Criterion) {
    for (name, file) in POLICIES {
        let source = file.map(source);
        let mut group = criterion.benchmark_group(format!("pick/{name}/copies"));
        for count in [1, 3, 8, 32] {
            let targets = copies(count);
            let ids: Vec<TargetId> = targets.iter().map(|target| target.id).collect();
            let balancer = Balancer::new("bench", targets, source.clone());
            let now = Instant::now();
            check(&balancer, &ids, now);
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| black_box(balancer.pick(&REQUEST, &ids, now)));
            });
        }
        group.finish();
    }
}

fn pick_and_done(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick-and-done/copies-8");
    for (name, file) in POLICIES {
        let targets = copies(8);
        let ids: Vec<TargetId> = targets.iter().map(|target| target.id).collect();
        let balancer = Balancer::new("bench", targets, file.map(source));
        let now = Instant::now();
        check(&balancer, &ids, now);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let pick = balancer.pick(&REQUEST, &ids, now);
                balancer.done(
                    black_box(pick),
                    Duration::from_micros(500),
                    Outcome::Answered,
                );
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = pick, pick_and_done
}
criterion_main!(benches);
