//! What a batch does to documents and checkpoints.

use std::sync::Arc;

use projectionist::record::{Offset, TopicPartition};
use projectionist::store::{Change, Guard, Provenance, StoredDocument, ViewId};

use crate::fixtures::{
    Batch, State, aircraft, claim, document, load, mismatched, next, owner, partition, unchanged,
    value,
};
use crate::site::Site;

pub(crate) async fn documents_and_checkpoint_move_together(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    Batch::over(&partition(0), epoch, 0..3)
        .insert("b", &document(2))
        .insert("a", &document(1))
        .store(&store)
        .await
        .expect("the owner may commit");

    let state = State::of(&site).await;
    assert_eq!(state.next(0), 3);
    let expected = [("a".into(), document(1)), ("b".into(), document(2))];
    assert_eq!(state.documents, expected);
}

pub(crate) async fn a_commit_without_writes_moves_the_checkpoint(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    for offsets in [0..7, 7..8] {
        let batch = Batch::over(&partition(0), epoch, offsets);
        batch.store(&store).await.expect("the owner may commit");
    }
    let state = State::of(&site).await;
    assert_eq!((state.next(0), state.documents.len()), (8, 0));
}

pub(crate) async fn updates_and_deletes_change_what_exists(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let old = document(1);
    let ids = ["sole", "guarded", "gone", "gone guarded", "kept"];
    let inserts = ids
        .iter()
        .fold(Batch::over(&partition(0), epoch, 0..1), |batch, id| {
            batch.insert(id, &old)
        });
    inserts.store(&store).await.expect("the owner may commit");

    let new = next(&old, 2, 1);
    Batch::over(&partition(0), epoch, 1..2)
        .update("sole", &new, Guard::SoleWriter)
        .update("guarded", &new, unchanged(&old))
        .delete("gone", Guard::SoleWriter)
        .delete("gone guarded", unchanged(&old))
        .store(&store)
        .await
        .expect("everything is as expected");

    let expected = [Some(new.clone()), Some(new), None, None, Some(old)];
    assert_eq!(load(&site.host().await, &ids).await, expected);
}

pub(crate) async fn a_deleted_document_may_come_back(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let first = document(1);
    let mut again = document(2);
    again.provenance.offset = Offset(2);
    let batches = [
        Batch::over(&partition(0), epoch, 0..1).insert("a", &first),
        Batch::over(&partition(0), epoch, 1..2).delete("a", unchanged(&first)),
        Batch::over(&partition(0), epoch, 2..3).insert("a", &again),
    ];
    for batch in batches {
        batch.store(&store).await.expect("the owner may commit");
    }
    let before = State::of(&site).await;
    assert_eq!(before.document("a"), Some(&again));

    // Its revision is that of the first one: who still holds that one must not replace it.
    let late =
        Batch::over(&partition(0), epoch, 3..4).update("a", &next(&first, 3, 3), unchanged(&first));
    assert_eq!(mismatched(late.store(&store).await), "a");
    assert_eq!(State::of(&site).await, before);
}

pub(crate) async fn a_write_that_does_not_find_what_it_expects_changes_nothing(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let old = document(1);
    Batch::over(&partition(0), epoch, 0..1)
        .insert("here", &old)
        .insert("other", &old)
        .store(&store)
        .await
        .expect("the owner may commit");
    let before = State::of(&site).await;

    let document = next(&old, 2, 1);
    let update = |guard| Change::Update {
        document: document.clone(),
        guard,
    };
    let delete = |guard| Change::Delete { guard };
    let cases = [
        ("here", Change::Insert(document.clone())),
        ("missing", update(Guard::SoleWriter)),
        ("missing", update(unchanged(&old))),
        ("missing", delete(Guard::SoleWriter)),
        ("missing", delete(unchanged(&old))),
        ("here", update(unchanged(&document))),
        ("here", delete(unchanged(&document))),
    ];
    for (id, change) in cases {
        // Good writes before and after it, which must not stay.
        let batch = Batch::over(&partition(0), epoch, 1..2)
            .insert("new", &document)
            .write(id, change.clone())
            .update("other", &document, Guard::SoleWriter);
        assert_eq!(mismatched(batch.store(&store).await), id, "{change:?}");
        assert_eq!(State::of(&site).await, before, "{change:?}");
    }
}

pub(crate) async fn a_guard_holds_the_whole_provenance(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let old = document(1);
    let insert = Batch::over(&partition(0), epoch, 0..1).insert("a", &old);
    insert.store(&store).await.expect("the owner may commit");
    let before = State::of(&site).await;

    let is = || old.provenance.clone();
    let others = [
        Provenance {
            revision: 2,
            ..is()
        },
        Provenance {
            offset: Offset(1),
            ..is()
        },
        Provenance {
            partition: TopicPartition::new("flights", 1),
            ..is()
        },
        Provenance {
            partition: TopicPartition::new("airports", 0),
            ..is()
        },
        Provenance {
            plugin: "another".into(),
            ..is()
        },
    ];
    for provenance in others {
        let guard = Guard::Unchanged(provenance);
        let update =
            Batch::over(&partition(0), epoch, 1..2).update("a", &next(&old, 2, 1), guard.clone());
        assert_eq!(mismatched(update.store(&store).await), "a", "{guard:?}");
        let delete = Batch::over(&partition(0), epoch, 1..2).delete("a", guard.clone());
        assert_eq!(mismatched(delete.store(&store).await), "a", "{guard:?}");
        assert_eq!(State::of(&site).await, before, "{guard:?}");
    }
}

pub(crate) async fn views_and_their_versions_are_apart(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let views = [
        aircraft(),
        ViewId::new("aircraft", 2),
        ViewId::new("airports", 1),
        ViewId::new("group", 1),
        ViewId::new("a-b_c9", 10),
    ];
    store.prepare(&views).await.expect("views can be prepared");
    let mut batch = Batch::over(&partition(0), epoch, 0..1);
    for (view, value) in views.iter().zip(0..) {
        batch = batch.write_to(view, "same", Change::Insert(document(value)));
    }
    batch.store(&store).await.expect("the owner may commit");

    for (view, value) in views.iter().zip(0..) {
        let found = store.scan(view, None, 10).await;
        let found = found.expect("a view can be scanned");
        assert_eq!(found, [("same".into(), document(value))], "{view}");
    }
}

pub(crate) async fn several_partitions_move_in_one_commit(site: Arc<Site>) {
    let (store, first) = owner(&site).await;
    claim(&store, &partition(1)).await;
    let second = claim(&store, &partition(1)).await.epoch;
    Batch::over(&partition(0), first, 0..3)
        .and_over(&partition(1), second, 0..40)
        .insert("a", &document(1))
        .insert("b", &document(2))
        .store(&store)
        .await
        .expect("the owner of both may commit");

    let state = State::of(&site).await;
    assert_eq!((state.next(0), state.next(1)), (3, 40));
    assert_eq!(state.documents.len(), 2);
}

pub(crate) async fn a_repeated_commit_is_recognised_and_writes_once(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    claim(&store, &partition(1)).await;
    let old = document(1);
    let batches = [
        Batch::over(&partition(0), epoch, 0..2)
            .and_over(&partition(1), epoch, 0..5)
            .insert("guarded", &old)
            .insert("sole", &old)
            .insert("gone", &old),
        Batch::over(&partition(0), epoch, 2..3)
            .and_over(&partition(1), epoch, 5..6)
            .update("guarded", &next(&old, 2, 2), unchanged(&old))
            .update("sole", &next(&old, 2, 2), Guard::SoleWriter)
            .delete("gone", Guard::SoleWriter)
            .insert("new", &old),
    ];
    for batch in batches {
        batch.store(&store).await.expect("the owner may commit");
        let before = State::of(&site).await;

        for host in [Arc::clone(&store), site.host().await] {
            let again = batch.store(&host).await;
            again.expect("a commit that went through counts as done");
            assert_eq!(State::of(&site).await, before);
        }
    }
}

pub(crate) async fn thousands_of_documents_fit_one_commit(site: Arc<Site>) {
    const DOCUMENTS: i64 = 5_000;
    let (store, epoch) = owner(&site).await;
    let id = |number: i64| format!("{number:05}");
    let mut inserts = Batch::over(&partition(0), epoch, 0..DOCUMENTS);
    let mut updates = Batch::over(&partition(0), epoch, DOCUMENTS..2 * DOCUMENTS);
    for number in 0..DOCUMENTS {
        let old = document(number);
        let new = next(&old, -number, DOCUMENTS + number);
        inserts = inserts.insert(&id(number), &old);
        updates = updates.update(&id(number), &new, unchanged(&old));
    }
    inserts.store(&store).await.expect("the owner may commit");
    updates.store(&store).await.expect("the owner may commit");

    let stored: Vec<StoredDocument> = State::of(&site)
        .await
        .documents
        .into_iter()
        .map(|(_, document)| document)
        .collect();
    assert_eq!(
        stored.len(),
        usize::try_from(DOCUMENTS).expect("it is small")
    );
    for (number, document) in (0..).zip(&stored) {
        assert_eq!(value(document), -number);
        assert_eq!(document.provenance.revision, 2);
    }
}
