//! The documents, stored as a projection stores them.

use anyhow::Context as _;
use bson::rawdoc;
use projectionist::record::{Lineage, NextOffset, Offset, TopicPartition};
use projectionist::store::mongo::MongoStore;
use projectionist::store::{
    Advance, Change, CheckpointId, Commit, Provenance, Repairs, Store as _, StoredDocument, ViewId,
    Write,
};

pub(crate) const VIEW: &str = "aircraft";
pub(crate) const PROJECTION: &str = "flights";
pub(crate) const TOPIC: &str = "flights";

/// Documents of one transaction.
const BATCH: usize = 1_000;

pub(crate) fn uri() -> anyhow::Result<String> {
    std::env::var("PROJECTIONIST_TEST_MONGODB")
        .context("PROJECTIONIST_TEST_MONGODB is not set; run `make bench-gateway`")
}

pub(crate) fn view() -> ViewId {
    ViewId::new(VIEW, 1)
}

pub(crate) fn id(number: usize) -> String {
    format!("N{number:05}")
}

pub(crate) async fn fill(database: &str, documents: usize) -> anyhow::Result<()> {
    let store = MongoStore::connect(&uri()?, database).await?;
    store.prepare(&[view()]).await?;
    let checkpoint = CheckpointId {
        projection: PROJECTION.into(),
        version: 1,
        copy: "main".into(),
        partition: TopicPartition::new(TOPIC, 0),
    };
    let claim = store.claim(&checkpoint, "bench").await?;
    for from in (0..documents).step_by(BATCH) {
        let to = documents.min(from + BATCH);
        let writes = (from..to).map(write).collect::<anyhow::Result<_>>()?;
        let commit = Commit {
            writes,
            entries: Vec::new(),
            advances: vec![Advance {
                checkpoint: checkpoint.clone(),
                epoch: claim.epoch,
                from: NextOffset(i64::try_from(from)?),
                to: NextOffset(i64::try_from(to)?),
                lineage: Lineage::default(),
                repairs: Repairs { from: 0, to: 0 },
            }],
        };
        store.commit(&commit).await?;
    }
    store.close().await;
    Ok(())
}

/// Of about the size of the flights example's aircraft.
fn write(number: usize) -> anyhow::Result<Write> {
    let count = i64::try_from(number)?;
    let body = rawdoc! {
        "legs": count,
        "cancelled": 3_i64,
        "miles": 1_000.5 * count as f64,
        "delay_minutes": -4_i64,
        "last": { "airport": "JFK", "at": "2013-01-31T23:59:00Z", "carrier": "UA" },
        "airports": ["EWR", "JFK", "LGA", "ORD"],
    };
    Ok(Write {
        view: view(),
        id: id(number).into(),
        change: Change::Insert(StoredDocument {
            body,
            provenance: Provenance {
                revision: 1,
                partition: TopicPartition::new(TOPIC, 0),
                offset: Offset(count),
                plugin: "5eed0123456789abcdef5eed0123456789abcdef5eed0123456789abcdef0123".into(),
            },
        }),
    })
}

pub(crate) async fn drop(database: &str) -> anyhow::Result<()> {
    let client = mongodb::Client::with_uri_str(uri()?).await?;
    Ok(client.database(database).drop().await?)
}
