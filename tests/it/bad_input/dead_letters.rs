//! Copies of parked events in a topic.

use projectionist_tests::host::Host;
use projectionist_tests::kafka::Topic;
use projectionist_tests::wait;
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};

use crate::settings::{Settings, number, produce, until_stored};

/// The last header of this name, as readers take it.
fn header(message: &OwnedMessage, name: &str) -> String {
    let headers = message.headers().expect("it has headers");
    let found = headers.iter().filter(|header| header.key == name).last();
    let value = found.and_then(|header| header.value).expect(name);
    String::from_utf8_lossy(value).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_parked_event_is_copied_once_with_the_headers_of_kafka_connect() {
    let topic = Topic::create("letters", 1).await.expect("a topic");
    let dead = Topic::create("dead-letters", 1).await.expect("a topic");
    let more = format!("parking = {{ dead-letter-topic = \"{}\" }}", dead.name);
    let settings = Settings::tally(&topic, &more);
    let (config, database) = (settings.config(), settings.database().await);
    let mut numbers = vec![number("a", 1), number("b", -1), number("a", 2)];
    numbers.extend([number("b", 3), number("c", -4)]);
    // The second life parks one more, and copies nothing again.
    let mut expected = vec![(1, "b"), (3, "b"), (4, "c")];
    for life in 1..=2 {
        let from = if life == 1 { 0 } else { numbers.len() - 1 };
        produce(&topic, &numbers[from..]);
        let host = Host::start(&config).expect("a host");
        until_stored(&database, numbers.len()).await;
        wait::until("the copies to arrive", async || {
            let ends = dead.ends().map_err(|error| error.to_string())?;
            match usize::try_from(ends[0]) {
                Ok(end) if end >= expected.len() => Ok(()),
                _ => Err(format!("{ends:?}")),
            }
        })
        .await;
        // With nothing under way, so that a copy too many would be there.
        assert!(host.terminate().await.expect("it ends").success());

        let copies = dead.read().expect("copies");
        let found: Vec<(i64, String)> = copies
            .iter()
            .map(|copy| {
                let offset = header(copy, "__connect.errors.offset");
                let key = String::from_utf8_lossy(copy.key().expect("a key")).into_owned();
                (offset.parse().expect("a number"), key)
            })
            .collect();
        let expected_now: Vec<_> = expected.iter().map(|&(o, k)| (o, k.to_owned())).collect();
        assert_eq!(found, expected_now, "life {life}");

        let poison = &copies[0];
        assert_eq!(header(poison, "__connect.errors.topic"), topic.name);
        assert_eq!(header(poison, "__connect.errors.partition"), "0");
        assert_eq!(header(poison, "__connect.errors.connector.name"), "tally");
        let message = header(poison, "__connect.errors.exception.message");
        assert_eq!(message, "-1 is negative");
        let class = header(poison, "__connect.errors.exception.class.name");
        assert_eq!(class, "the plugin rejected the event");
        assert_eq!(header(poison, "event-id"), numbers[1].id, "the event's own");
        let behind = header(&copies[1], "__connect.errors.exception.message");
        assert_eq!(behind, "the event at offset 1 of its key is parked");

        numbers.push(number("c", 6));
        expected.push((5, "c"));
    }
    database.drop().await.expect("the database is dropped");
}
