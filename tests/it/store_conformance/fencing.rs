//! What a host can no longer do once a partition is not its own.

use std::sync::Arc;

use projectionist::record::Epoch;
use projectionist::store::Guard;

use crate::fixtures::{Batch, State, claim, document, fenced, next, owner, partition, unchanged};
use crate::site::Site;

pub(crate) async fn a_fenced_host_stores_nothing(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let old = document(1);
    Batch::over(&partition(0), epoch, 0..1)
        .insert("known", &old)
        .insert("gone", &old)
        .store(&store)
        .await
        .expect("the owner may commit");
    claim(&site.host().await, &partition(0)).await;
    let before = State::of(&site).await;

    let late = Batch::over(&partition(0), epoch, 1..2)
        .insert("new", &document(2))
        .update("known", &next(&old, 2, 1), Guard::SoleWriter)
        .delete("gone", unchanged(&old));
    assert_eq!(fenced(late.store(&store).await), [0]);
    assert_eq!(State::of(&site).await, before);
}

/// Else a host that has lost a view's partition would take its successor for a foreign hand.
pub(crate) async fn a_fenced_host_is_told_so_whatever_its_documents_are(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let successor = site.host().await;
    let newer = claim(&successor, &partition(0)).await;
    Batch::over(&partition(0), newer.epoch, 0..1)
        .insert("a", &document(1))
        .store(&successor)
        .await
        .expect("the owner may commit");
    let before = State::of(&site).await;

    let cases = [
        ("insert", Batch::default().insert("a", &document(2))),
        (
            "update",
            Batch::default().update("missing", &document(2), Guard::SoleWriter),
        ),
        (
            "guarded update",
            Batch::default().update("a", &document(2), unchanged(&next(&document(0), 0, 9))),
        ),
        (
            "delete",
            Batch::default().delete("missing", Guard::SoleWriter),
        ),
    ];
    for (name, batch) in cases {
        let outcome = batch
            .and_over(&partition(0), epoch, 0..1)
            .store(&store)
            .await;
        assert_eq!(fenced(outcome), [0], "{name}");
        assert_eq!(State::of(&site).await, before, "{name}");
    }
}

pub(crate) async fn a_commit_from_another_position_stores_nothing(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    Batch::over(&partition(0), epoch, 0..10)
        .store(&store)
        .await
        .expect("the owner may commit");
    let before = State::of(&site).await;

    for offsets in [0..5, 5..12, 9..11, 11..20] {
        let batch = Batch::over(&partition(0), epoch, offsets.clone()).insert("a", &document(1));
        assert_eq!(fenced(batch.store(&store).await), [0], "{offsets:?}");
        assert_eq!(State::of(&site).await, before, "{offsets:?}");
    }
}

pub(crate) async fn a_partition_that_nobody_claimed_takes_no_commit(site: Arc<Site>) {
    let (store, _) = owner(&site).await;
    let before = State::of(&site).await;

    for epoch in 0..2 {
        let batch = Batch::over(&partition(1), Epoch(epoch), 0..1).insert("a", &document(1));
        assert_eq!(fenced(batch.store(&store).await), [1]);
        assert_eq!(State::of(&site).await, before);
    }
}

pub(crate) async fn one_fenced_partition_of_several_stops_the_commit_and_is_named(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    for number in 1..4 {
        claim(&store, &partition(number)).await;
    }
    let all = || {
        (0..4)
            .fold(Batch::default(), |batch, number| {
                batch.and_over(&partition(number), epoch, 0..3)
            })
            .insert("a", &document(1))
    };

    let other = site.host().await;
    for lost in [vec![2], vec![0, 2]] {
        claim(&other, &partition(lost[0])).await;
        let before = State::of(&site).await;

        let mut named = fenced(all().store(&store).await);
        named.sort_unstable();
        assert_eq!(named, lost);
        assert_eq!(State::of(&site).await, before);
    }

    let rest = Batch::over(&partition(1), epoch, 0..3)
        .and_over(&partition(3), epoch, 0..3)
        .insert("a", &document(1));
    rest.store(&store)
        .await
        .expect("the others are still its own");
    assert_eq!(State::of(&site).await.next(3), 3);
}

pub(crate) async fn a_commit_of_which_a_part_was_stored_before_is_fenced(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    claim(&store, &partition(1)).await;
    Batch::over(&partition(0), epoch, 0..3)
        .store(&store)
        .await
        .expect("the owner may commit");
    let before = State::of(&site).await;

    let both = Batch::over(&partition(0), epoch, 0..3)
        .and_over(&partition(1), epoch, 0..3)
        .insert("a", &document(1));
    assert_eq!(fenced(both.store(&store).await), [0]);
    assert_eq!(State::of(&site).await, before);
}

pub(crate) async fn a_stored_commit_is_not_recognised_under_another_epoch(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let batch = Batch::over(&partition(0), epoch, 0..3).insert("a", &document(1));
    batch.store(&store).await.expect("the owner may commit");
    claim(&site.host().await, &partition(0)).await;
    let before = State::of(&site).await;

    assert_eq!(fenced(batch.store(&store).await), [0]);
    assert_eq!(State::of(&site).await, before);
}
