//! What a checkpoint's count of repairs is for: commits that leave the position where it is.

use std::sync::Arc;

use projectionist::store::{Guard, Table};

use crate::fixtures::{
    Batch, State, claim, document, entry, fenced, mismatched, next, owner, partition,
};
use crate::site::Site;

pub(crate) async fn a_repair_leaves_the_position_and_is_counted(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let batch = Batch::over(&partition(0), epoch, 0..7);
    batch.store(&store).await.expect("the owner may commit");
    for repairs in 0..3 {
        let repair = Batch::repair(&partition(0), epoch, 7, repairs);
        repair.store(&store).await.expect("the owner may commit");
    }
    let claimed = claim(&site.host().await, &partition(0)).await;
    assert_eq!((claimed.next.0, claimed.repairs), (7, 3));
    let read = store.checkpoint(&partition(0)).await;
    assert_eq!(read.expect("a checkpoint can be read"), Some(claimed));
}

pub(crate) async fn a_repeated_repair_is_recognised_and_done_once(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let old = document(1);
    let parked = entry(Table::Parked, "a", 1);
    Batch::over(&partition(0), epoch, 0..1)
        .insert("a", &old)
        .insert_entry(&parked)
        .store(&store)
        .await
        .expect("the owner may commit");

    let drain = Batch::repair(&partition(0), epoch, 1, 0)
        .update("a", &next(&old, 2, 0), Guard::SoleWriter)
        .insert("b", &old)
        .remove_entry(Table::Parked, "a");
    drain.store(&store).await.expect("the owner may commit");
    let before = State::of(&site).await;
    assert_eq!((before.next(0), before.entries.len()), (1, 0));

    for host in [Arc::clone(&store), site.host().await] {
        let again = drain.store(&host).await;
        again.expect("a commit that went through counts as done");
        assert_eq!(State::of(&site).await, before);
    }
    // The next one, of the same documents, is another commit.
    let next = Batch::repair(&partition(0), epoch, 1, 1).insert("b", &old);
    assert_eq!(mismatched(next.store(&store).await), "b");
}

pub(crate) async fn a_commit_that_missed_a_repair_stores_nothing(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let repair = Batch::repair(&partition(0), epoch, 0, 0);
    repair.store(&store).await.expect("the owner may commit");
    let before = State::of(&site).await;

    let late = [
        Batch::over(&partition(0), epoch, 0..1),
        Batch::repair(&partition(0), epoch, 0, 2),
        Batch::repair(&partition(0), epoch, 1, 1),
    ];
    for batch in late {
        let batch = batch
            .insert("a", &document(1))
            .insert_entry(&entry(Table::Parked, "a", 1));
        assert_eq!(fenced(batch.store(&store).await), [0], "{batch:?}");
        assert_eq!(State::of(&site).await, before, "{batch:?}");
    }
}

pub(crate) async fn a_repair_may_move_the_position_too(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let mut batch = Batch::repair(&partition(0), epoch, 0, 0);
    batch.0.advances[0].to.0 = 5;
    for _ in 0..2 {
        let outcome = batch.store(&store).await;
        outcome.expect("done, or known to be done");
    }
    let claimed = claim(&store, &partition(0)).await;
    assert_eq!((claimed.next.0, claimed.repairs), (5, 1));
}
