//! A topic that was deleted and made again, a log that lost its end, a log that is damaged: what
//! stands at a position is not what was read there, or cannot be read.

use projectionist_tests::broker::Broker;
use projectionist_tests::kafka::{Topic, brokers};
use projectionist_tests::wait;

use crate::site::Site;

/// Deletes a topic and makes it again, as soon as the broker lets that be.
async fn make_again(topic: &Topic) {
    topic.delete().await.expect("the topic is deleted");
    wait::until("the topic to be made again", async || topic.make().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_and_longer_is_noticed() {
    let topic = Topic::create("replaced", 1).await.expect("a topic");
    let site = Site::new(&brokers(), topic).await;
    site.produce(&["a", "b"]);
    let host = site.start();
    site.until_stored(&host, 2).await;
    host.kill().expect("a running host");

    make_again(&site.topic).await;
    site.produce(&["x", "y", "z"]);
    let host = site.start();
    let reason = site.until_stopped(&host, "topic-replaced").await;
    assert!(reason.contains("the topic's id was"), "{reason}");
    assert_eq!(site.keys().await, ["a", "b"]);
    drop(host);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_under_a_running_host_is_noticed() {
    let topic = Topic::create("replaced", 1).await.expect("a topic");
    let site = Site::new(&brokers(), topic).await;
    site.produce(&["a", "b"]);
    let host = site.start();
    site.until_stored(&host, 2).await;

    make_again(&site.topic).await;
    site.produce(&["x", "y", "z"]);
    site.until_stopped(&host, "topic-replaced").await;
    drop(host);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_end_and_grew_again_is_noticed() {
    let mut broker = Broker::start(&[]).await;
    let topic = Topic::create_at(&broker.brokers(), "truncated", 1).await;
    let site = Site::new(&broker.brokers(), topic.expect("a topic")).await;
    site.produce(&["a"]);
    let kept = broker.segment(&site.topic.name).len();
    site.produce(&["b"]);
    let host = site.start();
    site.until_stored(&host, 2).await;
    host.kill().expect("a running host");

    // A power failure takes what was not yet on the disk; then others are written in its place.
    broker.kill();
    let whole = broker.segment(&site.topic.name);
    broker.write_segment(&site.topic.name, &whole[..kept]);
    broker.start_again();
    broker.wait_until_it_answers().await;
    wait::until("the log to have lost its end", async || {
        match site.topic.ends().map_err(|error| error.to_string())? {
            ends if ends == [1] => Ok(()),
            ends => Err(format!("{ends:?}")),
        }
    })
    .await;
    site.produce(&["x", "y"]);

    let host = site.start();
    let reason = site.until_stopped(&host, "log-truncated").await;
    assert!(reason.contains("leader epoch"), "{reason}");
    assert_eq!(site.keys().await, ["a", "b"]);
    drop(host);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_damaged_on_the_disk_is_not_folded_and_said() {
    let broker = Broker::start(&[]).await;
    let topic = Topic::create_at(&broker.brokers(), "damaged", 1).await;
    let site = Site::new(&broker.brokers(), topic.expect("a topic")).await;
    site.produce(&["a", "b"]);
    let before = broker.segment(&site.topic.name).len();
    site.produce(&["c"]);
    let segment = broker.segment(&site.topic.name);
    site.produce(&["d"]);
    // Still JSON: without a look at the checksum it would be folded.
    let value = br#"{"n":1}"#;
    let mut places = segment[before..].windows(value.len());
    let place = before + places.position(|bytes| bytes == value).expect("the value");
    broker.overwrite_segment(&site.topic.name, place + 5, b"2");

    let host = site.start();
    let reason = site.until_stopped(&host, "record-unreadable").await;
    assert!(reason.contains("at offset 2"), "{reason}");
    assert_eq!(site.keys().await, ["a", "b"]);
    assert_eq!(
        site.database.stored("mirror").await.expect("a checkpoint"),
        2
    );
    drop(host);
    site.end().await;
}
