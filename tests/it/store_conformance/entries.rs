//! What a store keeps beside the views, in commits and outside of them.

use std::sync::Arc;

use bson::raw::RawDocumentBuf;
use bson::rawdoc;
use projectionist::store::{CommitError, ENTRY_BYTES_MAX, Entry, EntryChange, Error, Store, Table};

use crate::documents::every_type;
use crate::fixtures::{
    Batch, State, claim, document, entry, entry_mismatched, fenced, owner, page, partition,
};
use crate::site::Site;

const TABLE: Table = Table::Outbox;

fn ids(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| &*entry.id).collect()
}

/// A store with these entries.
async fn with_entries(site: &Site, ids: &[&str]) -> Arc<dyn Store> {
    let (store, epoch) = owner(site).await;
    let mut batch = Batch::over(&partition(0), epoch, 0..1);
    for (id, value) in ids.iter().zip(0..) {
        batch = batch.insert_entry(&entry(TABLE, id, value));
    }
    batch.store(&store).await.expect("the owner may commit");
    store
}

/// Entries of so many bytes each, in as many commits as they need.
async fn with_large(site: &Site, ids: &[&str], bytes: usize) -> Arc<dyn Store> {
    let (store, epoch) = owner(site).await;
    for (id, offset) in ids.iter().zip(0..) {
        Batch::over(&partition(0), epoch, offset..offset + 1)
            .insert_entry(&large(id, bytes))
            .store(&store)
            .await
            .expect("the owner may commit");
    }
    store
}

/// An entry whose body has exactly so many bytes.
fn large(id: &str, bytes: usize) -> Entry {
    let frame = rawdoc! { "text": "" }.as_bytes().len();
    let body = rawdoc! { "text": "x".repeat(bytes - frame) };
    assert_eq!(body.as_bytes().len(), bytes);
    Entry {
        body,
        ..entry(TABLE, id, 0)
    }
}

pub(crate) async fn entries_change_with_documents_and_checkpoint(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    Batch::over(&partition(0), epoch, 0..1)
        .insert("a", &document(1))
        .insert_entry(&entry(TABLE, "replaced", 1))
        .insert_entry(&entry(TABLE, "removed", 1))
        .insert_entry(&entry(Table::Seen, "kept", 1))
        .store(&store)
        .await
        .expect("the owner may commit");
    Batch::over(&partition(0), epoch, 1..2)
        .insert("b", &document(2))
        .replace_entry(&entry(TABLE, "replaced", 2))
        .remove_entry(TABLE, "removed")
        .insert_entry(&entry(TABLE, "inserted", 2))
        .store(&store)
        .await
        .expect("everything is as expected");

    let state = State::of(&site).await;
    assert_eq!((state.next(0), state.documents.len()), (2, 2));
    let expected = [
        entry(Table::Seen, "kept", 1),
        entry(TABLE, "inserted", 2),
        entry(TABLE, "replaced", 2),
    ];
    assert_eq!(state.entries, expected);
}

pub(crate) async fn a_fenced_host_changes_no_entry(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    Batch::over(&partition(0), epoch, 0..1)
        .insert_entry(&entry(TABLE, "here", 1))
        .store(&store)
        .await
        .expect("the owner may commit");
    claim(&site.host().await, &partition(0)).await;
    let before = State::of(&site).await;

    // Also where its entries are not as it expects: it is fenced all the same.
    let late = [
        EntryChange::Insert(entry(TABLE, "new", 2)),
        EntryChange::Insert(entry(TABLE, "here", 2)),
        EntryChange::Replace(entry(TABLE, "here", 2)),
        EntryChange::Replace(entry(TABLE, "missing", 2)),
        EntryChange::Remove {
            table: TABLE,
            id: "here".into(),
        },
        EntryChange::Remove {
            table: TABLE,
            id: "missing".into(),
        },
    ];
    for change in late {
        let batch = Batch::over(&partition(0), epoch, 1..2).change(change);
        assert_eq!(fenced(batch.store(&store).await), [0], "{batch:?}");
        assert_eq!(State::of(&site).await, before, "{batch:?}");
    }
}

pub(crate) async fn an_entry_that_is_not_as_expected_stops_the_whole_commit(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    Batch::over(&partition(0), epoch, 0..1)
        .insert_entry(&entry(TABLE, "here", 1))
        .insert_entry(&entry(TABLE, "other", 1))
        .store(&store)
        .await
        .expect("the owner may commit");
    let before = State::of(&site).await;

    let cases = [
        ("here", EntryChange::Insert(entry(TABLE, "here", 2))),
        ("missing", EntryChange::Replace(entry(TABLE, "missing", 2))),
        (
            "missing",
            EntryChange::Remove {
                table: TABLE,
                id: "missing".into(),
            },
        ),
    ];
    for (id, change) in cases {
        // Good changes before and after it, which must not stay.
        let batch = Batch::over(&partition(0), epoch, 1..2)
            .insert("a", &document(1))
            .insert_entry(&entry(TABLE, "new", 2))
            .change(change)
            .replace_entry(&entry(TABLE, "other", 2))
            .insert_entry(&entry(Table::Seen, "new", 2));
        let outcome = batch.store(&store).await;
        assert_eq!(entry_mismatched(outcome), (TABLE, id.to_owned()));
        assert_eq!(State::of(&site).await, before, "{batch:?}");
    }
}

pub(crate) async fn a_repeated_commit_of_entries_is_recognised(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let batches = [
        Batch::over(&partition(0), epoch, 0..1)
            .insert_entry(&entry(TABLE, "a", 1))
            .insert_entry(&entry(TABLE, "b", 1)),
        Batch::over(&partition(0), epoch, 1..2)
            .remove_entry(TABLE, "a")
            .replace_entry(&entry(TABLE, "b", 2)),
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

pub(crate) async fn pages_go_by_the_ids_within_a_prefix(site: Arc<Site>) {
    // In UTF-16, "\u{ffff}" would come after "\u{10000}".
    let stored = [
        "a/10/1",
        "a/1/2",
        "a/1/",
        "a/1",
        "a/1/10",
        "a/10",
        "a/1/\u{10000}",
        "a/1/\u{ffff}",
        "b",
        "a/0/9",
        "",
    ];
    let store = with_entries(&site, &stored).await;
    let within = ["a/1/", "a/1/10", "a/1/2", "a/1/\u{ffff}", "a/1/\u{10000}"];
    let cases: [(&str, Option<&str>, usize, &[&str]); 11] = [
        ("a/1/", None, 100, &within),
        ("a/1/", None, 2, &within[..2]),
        ("a/1/", None, 0, &[]),
        ("a/1/", Some("a/1/"), 100, &within[1..]),
        ("a/1/", Some("a/1/10"), 1, &within[2..3]),
        ("a/1/", Some("a/1/11"), 100, &within[2..]),
        ("a/1/", Some(within[4]), 100, &[]),
        ("a/1/", Some("a/0"), 100, &within),
        ("a/1/", Some("b"), 100, &[]),
        ("a/10", None, 100, &["a/10", "a/10/1"]),
        ("c", None, 100, &[]),
    ];
    for (prefix, after, limit, expected) in cases {
        let found = page(&store, TABLE, prefix, after, limit).await;
        assert_eq!(ids(&found), expected, "{limit} of {prefix} after {after:?}");
    }
    let mut sorted = stored;
    sorted.sort_unstable();
    let all = page(&store, TABLE, "", None, usize::MAX).await;
    assert_eq!(ids(&all), sorted);
}

pub(crate) async fn pages_of_a_table_make_up_the_whole(site: Arc<Site>) {
    const ENTRIES: usize = 6_000;
    let sorted: Vec<String> = (0..ENTRIES).map(|number| format!("{number:04}")).collect();
    let sorted: Vec<&str> = sorted.iter().map(String::as_str).collect();
    let store = with_entries(&site, &sorted).await;

    let whole = page(&store, TABLE, "", None, usize::MAX).await;
    assert_eq!(ids(&whole), sorted);
    let mut paged: Vec<Entry> = Vec::new();
    for expected in [2_500, 2_500, 1_000, 0] {
        let after = paged.last().map(|entry| Arc::clone(&entry.id));
        let next = page(&store, TABLE, "", after.as_deref(), 2_500).await;
        assert_eq!(next.len(), expected);
        paged.extend(next);
    }
    assert_eq!(paged, whole);
}

pub(crate) async fn large_entries_come_in_several_pages(site: Arc<Site>) {
    const BYTES: usize = 10 * 1024 * 1024;
    let store = with_large(&site, &["a", "b", "c"], BYTES).await;
    let mut after = None;
    for id in ["a", "b", "c"] {
        let found = page(&store, TABLE, "", after, 100).await;
        assert!(found == [large(id, BYTES)], "{:?}", ids(&found));
        after = Some(id);
    }
    assert!(page(&store, TABLE, "", after, 100).await.is_empty());

    let all = ["a", "b", "c"].map(Arc::from);
    let found = store.find_entries(TABLE, &all).await;
    assert_eq!(found.expect("entries can be read").len(), 3);
}

pub(crate) async fn an_entry_that_is_too_large_is_told_so(site: Arc<Site>) {
    let largest = large("largest", ENTRY_BYTES_MAX);
    let store = with_large(&site, &["largest"], ENTRY_BYTES_MAX).await;
    assert!(page(&store, TABLE, "", None, 1).await == [largest.clone()]);
    store.put_entry(&largest).await.expect("it fits");
    let before = State::of(&site).await;

    let larger = large("larger", ENTRY_BYTES_MAX + 1);
    let epoch = claim(&store, &partition(1)).await.epoch;
    let batch = Batch::over(&partition(1), epoch, 0..1).insert_entry(&larger);
    let CommitError::TooLarge(reason) = batch.store(&store).await.expect_err("too large") else {
        panic!("another error");
    };
    assert!(
        reason.to_string().contains("\"larger\" of _outbox"),
        "{reason}"
    );
    match store.put_entry(&larger).await {
        Err(error @ Error::Refused { .. }) => {
            assert!(error.to_string().contains("cut it into several"), "{error}");
        }
        other => panic!("it should have been refused, not {other:?}"),
    }
    assert!(State::of(&site).await.entries == before.entries);
}

pub(crate) async fn every_bson_type_survives_in_an_entry(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let stored = Entry {
        body: RawDocumentBuf::try_from(every_type()).expect("it is valid BSON"),
        ..entry(TABLE, "committed", 0)
    };
    let put = Entry {
        id: "put".into(),
        ..stored.clone()
    };
    let batch = Batch::over(&partition(0), epoch, 0..1).insert_entry(&stored);
    batch.store(&store).await.expect("the owner may commit");
    store.put_entry(&put).await.expect("it is in order");

    let found = page(&store, TABLE, "", None, 9).await;
    assert_eq!(ids(&found), ["committed", "put"]);
    for found in found {
        assert_eq!(found.body.as_bytes(), stored.body.as_bytes());
    }
}

pub(crate) async fn entries_are_found_by_their_ids(site: Arc<Site>) {
    let stored: Vec<String> = (0..6_000).map(|number| number.to_string()).collect();
    let stored: Vec<&str> = stored.iter().map(String::as_str).collect();
    let store = with_entries(&site, &stored).await;

    let wanted: Vec<Arc<str>> = (3_000..12_000).map(|n| n.to_string().into()).collect();
    let mut found = store
        .find_entries(TABLE, &wanted)
        .await
        .expect("entries can be read");
    found.sort_by_key(|entry| entry.body.get_i64("value").expect("every fixture has one"));
    let expected: Vec<Entry> = (3_000..6_000)
        .map(|number| entry(TABLE, &number.to_string(), number))
        .collect();
    assert_eq!(found, expected);

    let none = store.find_entries(TABLE, &[]).await;
    assert_eq!(none.expect("entries can be read"), []);
}

pub(crate) async fn of_those_who_add_an_entry_at_once_one_has_added_it(site: Arc<Site>) {
    let (store, other) = (owner(&site).await.0, site.host().await);
    let (one, two) = (entry(TABLE, "a", 1), entry(TABLE, "a", 2));
    let (first, second) = tokio::join!(store.add_entry(&one), other.add_entry(&two));
    let first = first.expect("it is in order");
    let second = second.expect("it is in order");
    assert_ne!(first, second, "each says that it has added it, or neither");
    let (added, refused) = if first { (one, two) } else { (two, one) };
    for host in [&store, &other] {
        assert!(host.add_entry(&added).await.expect("it is there"));
        assert!(!host.add_entry(&refused).await.expect("another is there"));
        let stored = page(host, TABLE, "", None, 9).await;
        assert_eq!(stored, std::slice::from_ref(&added));
    }
}

pub(crate) async fn entries_are_put_and_removed_outside_of_commits(site: Arc<Site>) {
    let (store, other) = (owner(&site).await.0, site.host().await);
    for value in 0..3 {
        let put = entry(TABLE, "a", value);
        store.put_entry(&put).await.expect("it is in order");
        let put = std::slice::from_ref(&put);
        assert_eq!(page(&store, TABLE, "", None, 9).await, put);
        assert_eq!(page(&other, TABLE, "", None, 9).await, put);
    }
    let kept = [entry(TABLE, "kept", 0)];
    store.put_entry(&kept[0]).await.expect("it is in order");

    let gone: Vec<Arc<str>> = vec!["a".into(), "missing".into()];
    for _ in 0..2 {
        let removed = store.remove_entries(TABLE, &gone).await;
        removed.expect("those that are missing do not matter");
        assert_eq!(State::seen_by(&store).await.entries, kept);
        assert_eq!(State::seen_by(&other).await.entries, kept);
    }
    let nothing = store.remove_entries(TABLE, &[]).await;
    nothing.expect("there is nothing to do");
}

pub(crate) async fn tables_are_apart(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let mut batch = Batch::over(&partition(0), epoch, 0..1);
    for (table, value) in Table::ALL.into_iter().zip(0..) {
        batch = batch.insert_entry(&entry(table, "same", value));
    }
    batch.store(&store).await.expect("the owner may commit");
    for (table, value) in Table::ALL.into_iter().zip(0..) {
        let found = page(&store, table, "", None, 9).await;
        assert_eq!(found, [entry(table, "same", value)], "{table}");
    }
    let removed = store.remove_entries(TABLE, &["same".into()]).await;
    removed.expect("the store is in order");
    assert_eq!(State::of(&site).await.entries.len(), Table::ALL.len() - 1);
}

/// Nobody has prepared anything there, either.
pub(crate) async fn tables_that_nobody_wrote_to_are_empty(site: Arc<Site>) {
    let store = site.host().await;
    for table in Table::ALL {
        assert_eq!(page(&store, table, "", None, 9).await, [], "{table}");
        let found = store.find_entries(table, &["a".into()]).await;
        assert_eq!(found.expect("entries can be read"), [], "{table}");
        let removed = store.remove_entries(table, &["a".into()]).await;
        removed.expect("there is nothing to do");
    }
}
