//! Documents on their way into a store: from JSON to BSON and back, into their envelope, into the
//! commands of a transaction; and what decides how a commit goes on. One axis per group.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use projectionist::document;
use projectionist::record::{Epoch, Lineage, NextOffset, Offset, TopicPartition};
use projectionist::store::mongo::{command, decision};
use projectionist::store::{
    Advance, Change, CheckpointId, Claim, Commit, Guard, Provenance, Repairs, StoredDocument,
    ViewId, Write, envelope,
};

use settings::brief;

mod settings;

/// A document with so many fields, a text beside two numbers each.
fn json(fields: usize) -> Vec<u8> {
    let fields = (0..fields).map(|n| match n % 3 {
        0 => format!(r#""text_{n}":"a departure from Newark""#),
        _ => format!(r#""number_{n}":{n}"#),
    });
    let fields: Vec<String> = fields.collect();
    format!("{{{}}}", fields.join(",")).into_bytes()
}

fn stored(json: &[u8]) -> StoredDocument {
    StoredDocument {
        body: document::from_json(json).expect("a document").body,
        provenance: Provenance {
            revision: 1,
            partition: TopicPartition::new("bench", 0),
            offset: Offset(0),
            plugin: "0".repeat(64).into(),
        },
    }
}

/// Reading and writing documents, by their fields.
fn documents(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("document/fields");
    for fields in [3, 9, 90] {
        let json = json(fields);
        let document = stored(&json);
        let bson = document.body.as_bytes();
        let body = document::from_bson(bson).expect("a document");
        assert_eq!(body, document.body);
        assert_eq!(document::to_json(&body).expect("a document"), json);
        let sealed = envelope::seal("key-000001", &document);
        let opened = envelope::open(&sealed).expect("of its form");
        assert_eq!(opened.1, document);

        group.throughput(Throughput::Bytes(json.len() as u64));
        let mut reader = document::JsonReader::default();
        group.bench_function(BenchmarkId::new("from-json", fields), |bencher| {
            bencher.iter(|| black_box(reader.read(&json)));
        });
        group.bench_function(BenchmarkId::new("from-bson", fields), |bencher| {
            bencher.iter(|| black_box(document::from_bson(bson)));
        });
        group.bench_function(BenchmarkId::new("to-json", fields), |bencher| {
            bencher.iter(|| black_box(document::to_json(&body)));
        });
        group.bench_function(BenchmarkId::new("seal", fields), |bencher| {
            bencher.iter(|| black_box(envelope::seal("key-000001", &document)));
        });
        group.bench_function(BenchmarkId::new("open", fields), |bencher| {
            bencher.iter(|| black_box(envelope::open(&sealed)));
        });
    }
    group.finish();
}

fn advance() -> Advance {
    Advance {
        checkpoint: CheckpointId {
            projection: "bench".into(),
            version: 1,
            copy: "main".into(),
            partition: TopicPartition::new("bench", 0),
        },
        epoch: Epoch(1),
        from: NextOffset(0),
        to: NextOffset(1_000),
        lineage: Lineage::default(),
        repairs: Repairs { from: 0, to: 0 },
    }
}

/// The commands of a transaction, by its documents: half of them new, half of them known.
fn commands(criterion: &mut Criterion) {
    let document = stored(&json(9));
    let mut group = criterion.benchmark_group("commands/documents");
    for documents in [10, 1_000, 5_000] {
        let writes = (0..documents).map(|n| Write {
            view: ViewId::new("bench", 1),
            id: format!("key-{n:06}").into(),
            change: match n % 2 {
                0 => Change::Insert(document.clone()),
                _ => Change::Update {
                    document: document.clone(),
                    guard: Guard::SoleWriter,
                },
            },
        });
        let commit = Commit {
            writes: writes.collect(),
            entries: Vec::new(),
            advances: vec![advance()],
        };
        let built = command::build(&commit).expect("it fits");
        assert_eq!(built.len(), 3, "updates, inserts, the checkpoint");
        group.throughput(Throughput::Elements(documents as u64));
        group.bench_function(BenchmarkId::from_parameter(documents), |bencher| {
            bencher.iter(|| black_box(command::build(&commit)));
        });
    }
    group.finish();
}

/// From what the server answered to the end of a commit, by how it ends.
fn decisions(criterion: &mut Criterion) {
    use decision::{End, Event, Progress, Step, Suspects, Verdict, verdict};

    let fenced = Claim {
        epoch: Epoch(2),
        next: NextOffset(0),
        repairs: 0,
    };
    let stored = || {
        let mut progress = Progress::new();
        let steps = [
            progress.start(),
            progress.next(Event::Ran, 0.5),
            progress.next(Event::Committed, 0.5),
        ];
        let [_, _, Step::Finish(end)] = steps else {
            panic!("it ends: {steps:?}");
        };
        end
    };
    let advances = [advance()];
    let lost = || {
        let mut progress = Progress::new();
        let contradicted = Event::Contradicted(Suspects::Checkpoints);
        let found = verdict(&advances, &[Some(fenced)]);
        let steps = [
            progress.start(),
            progress.next(contradicted, 0.5),
            progress.next(Event::Checkpoints(found), 0.5),
        ];
        let [_, _, Step::Finish(end)] = steps else {
            panic!("it ends: {steps:?}");
        };
        end
    };
    assert_eq!(stored(), End::Stored);
    assert_eq!(lost(), End::Fenced(vec![0]));
    assert_eq!(verdict(&advances, &[Some(fenced)]), Verdict::Lost(vec![0]));

    let mut group = criterion.benchmark_group("decision");
    group.bench_function("stored", |bencher| bencher.iter(|| black_box(stored())));
    group.bench_function("fenced", |bencher| bencher.iter(|| black_box(lost())));
    group.finish();
}

criterion_group! {
    name = benches;
    config = brief();
    targets = documents, commands, decisions
}
criterion_main!(benches);
