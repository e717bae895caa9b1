//! What the host does with events and documents around the fold, each step by itself. One axis
//! per group.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use projectionist::document;
use projectionist::pipeline::cache::{Cache, CommitNumber, State};
use projectionist::pipeline::dedupe::{IdHash, Segment, Window};
use projectionist::pipeline::pending::{Pending, TargetView};
use projectionist::projection::{DocumentKey, Ownership, ViewIndex};
use projectionist::record::{Event, Header, Offset, TopicPartition};
use projectionist::store::{Provenance, StoredDocument, ViewId};

use settings::brief;

mod settings;

/// Events of a batch.
const EVENTS: usize = 1_000;

fn key(number: usize) -> DocumentKey {
    DocumentKey {
        view: ViewIndex(0),
        id: format!("key-{number:06}").into(),
    }
}

fn provenance() -> Provenance {
    Provenance {
        revision: 1,
        partition: TopicPartition::new("bench", 0),
        offset: Offset(0),
        plugin: "0".repeat(64).into(),
    }
}

/// From a record's parts to an event, as the consumer makes it.
fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode/value-bytes");
    for bytes in [62, 200, 2_000] {
        let value = vec![b'x'; bytes];
        let header = || Header {
            name: "event-id".into(),
            value: Some(b"flight-2013-01-00001"[..].into()),
        };
        let event = || {
            let (key, value) = (Some(&b"key-000001"[..]), Some(&value[..]));
            Event::new(Offset(1), 0, key, value, vec![header()])
        };
        assert_eq!(event().value(), Some(&value[..]));
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter(|| black_box(Arc::new(event())));
        });
    }
    group.finish();
}

/// A thousand changes put over one another, then taken as the writes of a commit.
fn merge(criterion: &mut Criterion) {
    let views: Arc<[TargetView]> = [TargetView {
        id: ViewId::new("bench", 1),
        ownership: Ownership::ByKey,
    }]
    .into();
    let document = StoredDocument {
        body: document::from_json(br#"{"count":1,"sum":2,"chain":3}"#)
            .expect("a document")
            .body,
        provenance: provenance(),
    };
    let mut group = criterion.benchmark_group("merge/documents");
    for documents in [1, 100, EVENTS] {
        let keys: Vec<DocumentKey> = (0..EVENTS).map(|n| key(n % documents)).collect();
        let changes = || {
            let changes = keys.iter().map(|key| (key.clone(), document.clone()));
            changes.collect::<Vec<_>>()
        };
        let mut pending = Pending::new(Arc::clone(&views));
        let mut merge = |changes: Vec<(DocumentKey, StoredDocument)>| {
            for (key, document) in changes {
                pending.put(key, Some(provenance()), Some(document));
            }
            pending.take()
        };
        assert_eq!(merge(changes()).0.len(), documents);
        group.throughput(Throughput::Elements(EVENTS as u64));
        group.bench_function(BenchmarkId::from_parameter(documents), |bencher| {
            bencher.iter_batched(changes, &mut merge, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// A thousand new ids, their segment made and its commit noted, in a full window.
fn dedupe(criterion: &mut Criterion) {
    let id = |number: u64| IdHash::of(&number.to_le_bytes());
    let mut group = criterion.benchmark_group("dedupe/window");
    for limit in [10_000_u64, 1_000_000] {
        let segments = (0..limit / EVENTS as u64).map(|segment| {
            let first = segment * EVENTS as u64;
            let ids = (first..first + EVENTS as u64).map(id).collect();
            Segment { first, ids }
        });
        let window = Window::new(limit, segments.collect());
        let mut window = window.expect("no segment is missing");
        let mut next = limit;
        assert!(!window.accept(id(next - 1)), "it was seen");
        let mut accept = || {
            for number in next..next + EVENTS as u64 {
                assert!(window.accept(id(number)));
            }
            next += EVENTS as u64;
            let changes = window.submit();
            window.commit();
            changes
        };
        group.throughput(Throughput::Elements(EVENTS as u64));
        group.bench_function(BenchmarkId::from_parameter(limit), |bencher| {
            bencher.iter(|| black_box(accept()));
        });
    }
    group.finish();
}

/// A thousand documents looked up, then replaced by what a batch made of them.
fn cache(criterion: &mut Criterion) {
    let state = State::Present {
        encoded: Bytes::from_static(br#"{"count":1,"sum":2,"chain":3}"#),
        provenance: provenance(),
    };
    let mut group = criterion.benchmark_group("cache/documents");
    for documents in [EVENTS, 100_000] {
        let keys: Vec<DocumentKey> = (0..documents).map(key).collect();
        let mut cache = Cache::new(1);
        for key in &keys {
            cache.insert_loaded(key.clone(), state.clone());
        }
        let mut commit = 0;
        // Far apart, as keys are.
        let mut place = 0;
        let mut fold = || {
            commit += 1;
            for _ in 0..EVENTS {
                place = (place + 7_919) % documents;
                let key = &keys[place];
                let known = cache.peek(key.view, &key.id);
                assert!(matches!(known, Some(State::Present { .. })));
                cache.insert_folded(key.clone(), state.clone(), CommitNumber(commit));
            }
            cache.set_stored(CommitNumber(commit));
            cache.trim(1 << 30);
        };
        group.throughput(Throughput::Elements(EVENTS as u64));
        group.bench_function(BenchmarkId::from_parameter(documents), |bencher| {
            bencher.iter(&mut fold);
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = brief();
    targets = decode, merge, dedupe, cache
}
criterion_main!(benches);
