//! Keys whose events are in several partitions.

use std::sync::Arc;

use projectionist::store::{CheckpointId, CommitError};

use crate::fixtures::{Batch, claim, partition};
use crate::site::Site;

fn writer(checkpoint: &CheckpointId) -> String {
    CheckpointId::writer(&checkpoint.projection, checkpoint.version, &checkpoint.copy)
}

pub(crate) async fn to_share_keys_fences_all_owners_of_one_writer(site: Arc<Site>) {
    let (one, two) = (partition(0), partition(1));
    let other = CheckpointId {
        projection: format!("{}-too", one.projection).into(),
        ..partition(0)
    };
    let store = site.host().await;
    let mut epochs = Vec::new();
    for checkpoint in [&one, &two, &other] {
        epochs.push(claim(&store, checkpoint).await.epoch);
    }
    let marked = store.keys_are_shared(&writer(&one)).await;
    assert!(!marked.expect("nobody has said so"));

    let marker = site.host().await;
    let shared = marker.share_keys(&writer(&one)).await;
    shared.expect("it can be recorded");

    for (checkpoint, epoch) in [&one, &two].into_iter().zip(&epochs) {
        let late = Batch::over(checkpoint, *epoch, 0..3).store(&store).await;
        assert!(matches!(late, Err(CommitError::Fenced { .. })), "{late:?}");
        let again = claim(&store, checkpoint).await;
        assert_eq!(again.next.0, 0, "nothing was stored");
        // Two partitions may find out one after the other.
        let shared = marker.share_keys(&writer(&one)).await;
        shared.expect("it is recorded");
        let batch = Batch::over(checkpoint, again.epoch, 0..3);
        batch.store(&store).await.expect("the owner may commit");
    }
    for (checkpoint, shared) in [(&one, true), (&two, true), (&other, false)] {
        let marked = store.keys_are_shared(&writer(checkpoint)).await;
        assert_eq!(marked.expect("it can be read"), shared, "{checkpoint}");
    }
    let batch = Batch::over(&other, epochs[2], 0..3);
    batch.store(&store).await.expect("another writer goes on");
}
