//! Reading a view from one end to the other.

use std::sync::Arc;

use projectionist::store::Store;

use crate::fixtures::{Batch, document, owner, partition, scan};
use crate::site::Site;

/// A store with these ids.
async fn with_ids(site: &Site, ids: &[&str]) -> Arc<dyn Store> {
    let (store, epoch) = owner(site).await;
    let mut batch = Batch::over(&partition(0), epoch, 0..1);
    for (id, value) in ids.iter().zip(0..) {
        batch = batch.insert(id, &document(value));
    }
    batch.store(&store).await.expect("the owner may commit");
    store
}

async fn scanned(store: &Arc<dyn Store>, after: Option<&str>, limit: usize) -> Vec<String> {
    let documents = scan(store, after, limit).await;
    documents.iter().map(|(id, _)| id.to_string()).collect()
}

pub(crate) async fn a_scan_goes_by_the_bytes_of_the_ids(site: Arc<Site>) {
    // In UTF-16, "\u{ffff}" would come after "\u{10000}".
    let sorted = [
        "",
        "\0",
        " ",
        "1",
        "10",
        "2",
        "A",
        "B",
        "a",
        "a\0",
        "a\0b",
        "aa",
        "b",
        "z",
        "\u{e4}",
        "\u{ffff}",
        "\u{10000}",
    ];
    let mut mixed = sorted;
    mixed.reverse();
    mixed.swap(2, 9);
    let store = with_ids(&site, &mixed).await;

    assert_eq!(scanned(&store, None, usize::MAX).await, sorted);
    for (index, id) in sorted.iter().enumerate() {
        let rest = scanned(&store, Some(id), usize::MAX).await;
        assert_eq!(rest, sorted[index + 1..], "after {id:?}");
    }
}

pub(crate) async fn a_scan_starts_after_an_id_and_ends_at_its_limit(site: Arc<Site>) {
    let store = with_ids(&site, &["d", "b", "a", "c"]).await;
    let cases: [(Option<&str>, usize, &[&str]); 9] = [
        (None, 10, &["a", "b", "c", "d"]),
        (None, 2, &["a", "b"]),
        (None, 0, &[]),
        (Some("b"), 10, &["c", "d"]),
        (Some("b"), 1, &["c"]),
        (Some("bb"), 10, &["c", "d"]),
        (Some(""), 10, &["a", "b", "c", "d"]),
        (Some("d"), 10, &[]),
        (Some("b"), 0, &[]),
    ];
    for (after, limit, expected) in cases {
        let found = scanned(&store, after, limit).await;
        assert_eq!(found, expected, "{limit} after {after:?}");
    }
}

pub(crate) async fn pages_of_a_scan_make_up_the_whole(site: Arc<Site>) {
    let ids: Vec<String> = (0..1_000).map(|number| format!("{number:x}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let store = with_ids(&site, &ids).await;

    let mut paged: Vec<String> = Vec::new();
    for expected in [300, 300, 300, 100, 0] {
        let page = scanned(&store, paged.last().map(String::as_str), 300).await;
        assert_eq!(page.len(), expected);
        paged.extend(page);
    }
    let mut sorted = ids;
    sorted.sort_unstable();
    assert_eq!(paged, sorted);
}
