//! Control records, aborted transactions and deleted records: progress follows the position, also
//! right after an assignment.

use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::raw::{End, RawProducer, RawRecord};
use projectionist_tests::{unique, wait};

use crate::site::Site;

async fn site(what: &str) -> Site {
    let topic = Topic::create(what, 1).await.expect("a topic");
    Site::new(&brokers(), topic).await
}

/// One event in a transaction, and its control record.
fn transact(site: &Site, key: &str, end: End) {
    let mut config = site.topic.client_config();
    config.set("transactional.id", unique("positions"));
    let producer = RawProducer::new(config).expect("a producer");
    let record = RawRecord {
        key: Some(key.into()),
        value: Some(b"{\"n\":1}".to_vec()),
        ..RawRecord::default()
    };
    let sent = producer.transact(end, |producer| {
        producer.send(&site.topic.name, &record).map(drop)
    });
    sent.expect("a transaction");
}

/// The broker writes the control record after it has answered.
async fn until_ends(site: &Site, end: i64) {
    wait::until("the control record", async || {
        let ends = site.topic.ends().map_err(|error| error.to_string())?;
        match ends == [end] {
            true => Ok(()),
            false => Err(format!("{ends:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_passed_right_after_a_start() {
    let site = site("markers").await;
    transact(&site, "committed", End::Commit);
    until_ends(&site, 2).await;
    let host = site.start();
    site.until_stored(&host, 2).await;
    host.kill().expect("a running host");

    // While it is away, there comes nothing for it.
    transact(&site, "aborted", End::Abort);
    until_ends(&site, 4).await;
    let host = site.start();
    site.until_stored(&host, 4).await;
    host.kill().expect("a running host");

    // Retention removes the markers: nothing was lost.
    let deleted = site.topic.delete_records(0, 4).await;
    deleted.expect("the records are deleted");
    let host = site.start();
    site.until_stored(&host, 4).await;
    site.produce(&["later"]);
    site.until_stored(&host, 5).await;
    assert_eq!(site.keys().await, ["committed", "later"]);
    drop(host);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_projection_passes_what_was_deleted_and_says_so_once() {
    let site = site("deleted").await;
    site.produce(&["a", "b", "c"]);
    let deleted = site.topic.delete_records(0, 3).await;
    deleted.expect("the records are deleted");
    let host = site.start();
    site.until_stored(&host, 3).await;
    let said = "begins at offset 3";
    assert_eq!(host.log().matches(said).count(), 1, "{}", host.log());
    host.kill().expect("a running host");

    let host = site.start();
    site.until_stored(&host, 3).await;
    site.produce(&["d"]);
    site.until_stored(&host, 4).await;
    assert_eq!(site.keys().await, ["d"]);
    assert!(!host.log().contains(said), "{}", host.log());
    drop(host);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_events_are_missed_once_the_partition_is_claimed() {
    let site = site("claimed-at-0").await;
    let host = site.start();
    site.until_stored(&host, 0).await;
    host.kill().expect("a running host");

    site.produce(&["a", "b", "c", "d"]);
    let deleted = site.topic.delete_records(0, 3).await;
    deleted.expect("the records are deleted");
    let host = site.start();
    let reason = site.until_stopped(&host, "offset-gone").await;
    assert!(reason.contains("from offset 0 up to 3"), "{reason}");
    assert_eq!(site.keys().await, [""; 0]);
    drop(host);
    site.end().await;
}
