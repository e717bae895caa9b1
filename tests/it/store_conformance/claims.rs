//! Who owns a partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use projectionist::record::{
    Epoch, LastRecord, LeaderEpoch, Lineage, NextOffset, Offset, TopicId, TopicPartition,
};
use projectionist::store::{CheckpointId, Claim};
use tokio::task::JoinSet;

use crate::fixtures::{Batch, claim, owner, partition};
use crate::site::Site;

pub(crate) async fn a_first_claim_starts_at_offset_0(site: Arc<Site>) {
    let store = site.host().await;
    let first = Claim {
        epoch: Epoch(1),
        next: NextOffset::ZERO,
        repairs: 0,
    };
    assert_eq!(claim(&store, &partition(0)).await, first);

    let read = site.host().await.checkpoint(&partition(0)).await;
    assert_eq!(read.expect("a checkpoint can be read"), Some(first));
}

pub(crate) async fn a_first_claim_starts_where_it_says_and_later_ones_where_it_stands(
    site: Arc<Site>,
) {
    let store = site.host().await;
    for (epoch, start) in [(1, 5), (2, 9)] {
        let claim = store
            .claim_from(&partition(0), "test", NextOffset(start))
            .await;
        let expected = Claim {
            epoch: Epoch(epoch),
            next: NextOffset(5),
            repairs: 0,
        };
        assert_eq!(claim.expect("the store is in order"), expected);
    }
}

pub(crate) async fn a_checkpoint_tells_which_log_it_is_of(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let unknown = store.lineage(&partition(0)).await;
    assert_eq!(unknown.expect("it can be read"), Lineage::default());
    let topic = TopicId::from_halves(1, 2);
    let last = |offset, epoch| {
        Some(LastRecord {
            offset: Offset(offset),
            epoch: LeaderEpoch(epoch),
        })
    };
    // What is said, and what is there then. A topic stays until another one is said.
    let cases = [
        (
            Lineage {
                topic,
                last: last(0, 3),
            },
            last(0, 3),
        ),
        (
            Lineage {
                topic: None,
                last: last(1, 4),
            },
            last(1, 4),
        ),
        (
            Lineage {
                topic: None,
                last: None,
            },
            None,
        ),
        (
            Lineage {
                topic,
                last: last(3, i32::MAX),
            },
            last(3, i32::MAX),
        ),
    ];
    for (from, (lineage, last)) in (0..).zip(cases) {
        let mut batch = Batch::over(&partition(0), epoch, from..from + 1);
        batch.0.advances[0].lineage = lineage;
        batch.store(&store).await.expect("the owner may commit");
        let read = site.host().await.lineage(&partition(0)).await;
        assert_eq!(read.expect("it can be read"), Lineage { topic, last });
    }
    let other = store.lineage(&partition(1)).await;
    assert_eq!(other.expect("it can be read"), Lineage::default());
}

pub(crate) async fn each_claim_counts_the_epoch_up_and_keeps_the_position(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    Batch::over(&partition(0), epoch, 0..42)
        .store(&store)
        .await
        .expect("the owner may commit");

    let other = site.host().await;
    for epoch in 2..5 {
        let expected = Claim {
            epoch: Epoch(epoch),
            next: NextOffset(42),
            repairs: 0,
        };
        assert_eq!(claim(&other, &partition(0)).await, expected);
        let read = store.checkpoint(&partition(0)).await;
        assert_eq!(read.expect("a checkpoint can be read"), Some(expected));
    }
}

pub(crate) async fn a_partition_that_nobody_claimed_has_no_checkpoint(site: Arc<Site>) {
    let store = site.host().await;
    claim(&store, &partition(1)).await;
    let read = store.checkpoint(&partition(0)).await;
    assert_eq!(read.expect("a checkpoint can be read"), None);
}

pub(crate) async fn claims_of_different_checkpoints_are_apart(site: Arc<Site>) {
    let store = site.host().await;
    let different = [
        partition(0),
        partition(1),
        CheckpointId {
            projection: "airports".into(),
            ..partition(0)
        },
        CheckpointId {
            version: 2,
            ..partition(0)
        },
        CheckpointId {
            copy: "second".into(),
            ..partition(0)
        },
        CheckpointId {
            partition: TopicPartition::new("flights-2", 0),
            ..partition(0)
        },
    ];
    for round in 1..3 {
        for checkpoint in &different {
            let claim = claim(&store, checkpoint).await;
            assert_eq!(claim.epoch, Epoch(round), "{checkpoint}");
        }
    }
}

pub(crate) async fn concurrent_claims_get_different_epochs(site: Arc<Site>) {
    let hosts = [site.host().await, site.host().await];
    let mut claims = JoinSet::new();
    for i in 0..20 {
        let host = Arc::clone(&hosts[i % 2]);
        claims.spawn(async move { claim(&host, &partition(0)).await.epoch.0 });
    }
    let epochs: BTreeSet<i64> = claims.join_all().await.into_iter().collect();

    let newest = hosts[0].checkpoint(&partition(0)).await;
    let newest = newest.expect("a checkpoint can be read").expect("claimed");
    assert_eq!(epochs.len(), 20, "{epochs:?}");
    assert_eq!(epochs.last(), Some(&newest.epoch.0));
}
