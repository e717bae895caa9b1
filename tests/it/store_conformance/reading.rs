//! Reading for those who only read.

use std::sync::Arc;

use projectionist::record::{NextOffset, TopicPartition};
use projectionist::store::{CheckpointId, ViewId, envelope};

use crate::fixtures::{Batch, aircraft, claim, document, next, owner, partition, unchanged, value};
use crate::site::Site;

const WRITER: &str = "aircraft/v1/main";

pub(crate) async fn a_reader_sees_documents_as_they_are_stored(site: Arc<Site>) {
    let reader = site.readable().await;
    assert_eq!(
        reader.document(&aircraft(), "a").await.expect("a read"),
        None
    );

    let (store, epoch) = owner(&site).await;
    let odd = "a/b \u{e4}\u{10000}\"'";
    let batch = Batch::over(&partition(0), epoch, 0..2).insert(odd, &document(7));
    batch.store(&store).await.expect("the owner may commit");

    let found = reader.document(&aircraft(), odd).await.expect("a read");
    let found = found.expect("it is stored");
    assert_eq!(found, envelope::seal(odd, &document(7)));
    for (view, id) in [
        (aircraft(), "b"),
        (aircraft(), ""),
        (ViewId::new("aircraft", 2), odd),
        (ViewId::new("nowhere", 1), odd),
    ] {
        let found = reader.document(&view, id).await.expect("a read");
        assert_eq!(found, None, "{id} of {view}");
    }
}

pub(crate) async fn a_reader_sees_how_far_each_partition_is_stored(site: Arc<Site>) {
    let reader = site.readable().await;
    assert_eq!(reader.positions(WRITER).await.expect("a read"), []);

    let (store, epoch) = owner(&site).await;
    let others = ["aircrafts", "aircraft/v1", "aircraf"].map(|projection| CheckpointId {
        projection: projection.into(),
        ..partition(0)
    });
    for other in &others {
        claim(&store, other).await;
    }
    let second = claim(&store, &partition(1)).await;
    Batch::over(&partition(0), epoch, 0..5)
        .and_over(&partition(1), second.epoch, 0..70)
        .store(&store)
        .await
        .expect("the owner may commit");
    claim(&store, &partition(2)).await;

    let mut found = reader.positions(WRITER).await.expect("a read");
    found.sort();
    let expected = [(0, 5), (1, 70), (2, 0)];
    let expected =
        expected.map(|(number, next)| (TopicPartition::new("flights", number), NextOffset(next)));
    assert_eq!(found, expected);
}

pub(crate) async fn what_is_read_after_a_position_is_at_least_as_new(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let reader = site.readable().await;
    let mut current = document(0);
    let first = Batch::over(&partition(0), epoch, 0..1).insert("a", &current);
    first.store(&store).await.expect("the owner may commit");
    let writing = tokio::spawn(async move {
        for offset in 1..200 {
            let new = next(&current, offset, offset);
            Batch::over(&partition(0), epoch, offset..offset + 1)
                .update("a", &new, unchanged(&current))
                .store(&store)
                .await
                .expect("the owner may commit");
            current = new;
        }
    });
    let mut seen = NextOffset::ZERO;
    while seen < NextOffset(200) {
        let positions = reader.positions(WRITER).await.expect("a read");
        let [(_, position)] = positions[..] else {
            panic!("one partition, not {positions:?}");
        };
        let found = reader.document(&aircraft(), "a").await.expect("a read");
        let (_, found) = envelope::open(&found.expect("it is there")).expect("a stored document");
        assert!(value(&found) + 1 >= position.0, "{found:?} at {position}");
        assert!(position >= seen, "{position} after {seen}");
        seen = position;
    }
    writing.await.expect("all is written");
}
