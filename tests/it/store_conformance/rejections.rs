//! What a store does not take because of a user's own index.

use std::sync::Arc;

use projectionist::store::{CommitError, Culprit, Guard, Rejection, Table};

use crate::fixtures::{Batch, State, aircraft, document, entry, next, owner, partition, value};
use crate::site::Site;

const TABLE: Table = Table::Outbox;

/// What a commit was rejected for; it names the index and the place.
fn rejected(outcome: Result<(), CommitError>, collection: &str) -> Rejection {
    match outcome {
        Err(CommitError::Rejected(rejection)) => {
            let text = rejection.to_string();
            assert!(text.contains("once"), "{text}");
            assert!(text.contains(collection), "{text}");
            *rejection
        }
        other => panic!("it should have been rejected, not {other:?}"),
    }
}

fn document_named(id: &str) -> Option<Culprit> {
    Some(Culprit::Document {
        view: aircraft(),
        id: id.into(),
    })
}

pub(crate) async fn a_document_that_a_users_index_forbids_is_named_and_nothing_is_stored(
    site: Arc<Site>,
) {
    let (store, epoch) = owner(&site).await;
    site.forbid_twice("aircraft.v1", "value").await;
    let first = Batch::over(&partition(0), epoch, 0..1).insert("a", &document(1));
    first.store(&store).await.expect("it is the only one");
    let before = State::of(&site).await;

    let second = Batch::over(&partition(0), epoch, 1..2)
        .insert("b", &document(2))
        .insert("c", &document(1));
    let rejection = rejected(second.store(&store).await, "aircraft.v1");
    assert_eq!(rejection.culprit, document_named("c"));
    assert_eq!(State::of(&site).await, before);

    let rest = Batch::over(&partition(0), epoch, 1..2).insert("b", &document(2));
    rest.store(&store).await.expect("the rest may be stored");
}

pub(crate) async fn an_update_that_a_users_index_forbids_is_named_too(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    site.forbid_twice("aircraft.v1", "value").await;
    let (a, b) = (document(1), document(2));
    let first = Batch::over(&partition(0), epoch, 0..1)
        .insert("a", &a)
        .insert("b", &b);
    first.store(&store).await.expect("they differ");
    let before = State::of(&site).await;
    for guard in [Guard::SoleWriter, Guard::Unchanged(b.provenance.clone())] {
        let second = Batch::over(&partition(0), epoch, 1..2).update("b", &next(&b, 1, 1), guard);
        let rejection = rejected(second.store(&store).await, "aircraft.v1");
        assert_eq!(rejection.culprit, document_named("b"));
        assert_eq!(State::of(&site).await, before);
    }
}

pub(crate) async fn an_entry_that_a_users_index_forbids_is_named_and_nothing_is_stored(
    site: Arc<Site>,
) {
    let (store, epoch) = owner(&site).await;
    site.forbid_twice(TABLE.name(), "value").await;
    let first = Batch::over(&partition(0), epoch, 0..1).insert_entry(&entry(TABLE, "a", 1));
    first.store(&store).await.expect("it is the only one");
    let before = State::of(&site).await;

    let second = Batch::over(&partition(0), epoch, 1..2)
        .insert("x", &document(1))
        .insert_entry(&entry(TABLE, "b", 1));
    let rejection = rejected(second.store(&store).await, TABLE.name());
    let culprit = Culprit::Entry {
        table: TABLE,
        id: "b".into(),
    };
    assert_eq!(rejection.culprit, Some(culprit));
    assert_eq!(State::of(&site).await, before);
}

pub(crate) async fn a_value_of_a_users_index_passes_from_one_document_to_another(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    site.forbid_twice("aircraft.v1", "value").await;
    let first = Batch::over(&partition(0), epoch, 0..1)
        .insert("gone", &document(1))
        .insert("changed", &document(2));
    first.store(&store).await.expect("they differ");
    // In the order in which they could not be written.
    let passed = Batch::over(&partition(0), epoch, 1..2)
        .insert("new", &document(2))
        .update("changed", &next(&document(2), 1, 1), Guard::SoleWriter)
        .delete("gone", Guard::SoleWriter);
    passed.store(&store).await.expect("they differ again");
    let state = State::of(&site).await;
    let values: Vec<(&str, i64)> = state
        .documents
        .iter()
        .map(|(id, document)| (&**id, value(document)))
        .collect();
    assert_eq!(values, [("changed", 1), ("new", 2)]);
}
