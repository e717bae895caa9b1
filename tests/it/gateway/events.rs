//! A document whenever it changes.

use std::sync::Arc;

use projectionist_tests::wait;
use serde_json::{Value, json};

use crate::client::{Answer, Connection};
use crate::site::Site;

/// A stream of events that has begun.
struct Stream {
    connection: Connection,
    head: Answer,
}

#[derive(Debug, PartialEq)]
struct Event {
    id: String,
    event: String,
    data: Value,
}

impl Stream {
    fn open(site: &Site, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = site.connect();
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", site.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        connection.send(format!("{request}\r\n").as_bytes());
        let head = connection.head();
        Stream { connection, head }
    }

    /// The next event; comments and the lengths of chunks are passed over.
    fn next(&mut self) -> Option<Event> {
        let (mut id, mut event) = (String::new(), String::new());
        loop {
            let line = self.connection.line()?;
            if let Some(value) = line.strip_prefix("id: ") {
                id = value.to_owned();
            } else if let Some(value) = line.strip_prefix("event: ") {
                event = value.to_owned();
            } else if let Some(value) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(value).expect("JSON");
                return Some(Event { id, event, data });
            }
        }
    }
}

fn legs(stream: &mut Stream) -> i64 {
    let event = stream.next().expect("an event");
    assert_eq!(event.event, "document", "{event:?}");
    event.data["legs"].as_i64().expect("a number")
}

const PATH: &str = "/views/aircraft/N1/events";

pub(crate) async fn a_stream_tells_of_each_change(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    let mut stream = Stream::open(&site, &format!("{PATH}?fields=legs"), &[]);
    assert_eq!(stream.head.status, 200);
    let content_type = stream.head.header("content-type");
    assert_eq!(content_type, Some("text/event-stream"));
    let missing = stream.next().expect("an event");
    let expected = Event {
        id: "missing".to_owned(),
        event: "missing".to_owned(),
        data: json!({ "_id": "N1" }),
    };
    assert_eq!(missing, expected);

    writer.aircraft("N1", 1).await;
    let first = stream.next().expect("an event");
    assert_eq!(first.id, "1-flights-0-0-5eed01234567");
    assert_eq!(first.data, json!({ "_id": "N1", "legs": 1 }));
    // What does not concern the document is not told.
    writer.aircraft("N2", 9).await;
    writer.aircraft("N1", 2).await;
    assert_eq!(legs(&mut stream), 2);
    // Of many quick changes, at least the last one is.
    for number in 3..30 {
        writer.aircraft("N1", number).await;
    }
    let mut last = 2;
    while last < 29 {
        let next = legs(&mut stream);
        assert!(next > last, "{next} after {last}");
        last = next;
    }
    writer.delete("aircraft", "N1").await;
    assert_eq!(stream.next().expect("an event").event, "missing");

    site.stop.cancel();
    assert_eq!(stream.next(), None, "a stream ends with the host");
}

pub(crate) async fn a_stream_goes_on_after_the_last_event(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    writer.aircraft("N1", 1).await;
    let mut stream = Stream::open(&site, PATH, &[]);
    let first = stream.next().expect("an event");
    drop(stream);

    let known = [("last-event-id", first.id.as_str())];
    let mut again = Stream::open(&site, PATH, &known);
    writer.aircraft("N1", 2).await;
    assert_eq!(legs(&mut again), 2, "what was known is not told again");
    // What has changed meanwhile is told at once.
    let mut late = Stream::open(&site, PATH, &known);
    assert_eq!(legs(&mut late), 2);
}

pub(crate) async fn there_are_so_many_streams_and_no_more(site: Arc<Site>) {
    let refused = site.get("/views/nowhere/N1/events").await;
    refused.assert_problem(404, "there is no view");
    let refused = site.get(&format!("{PATH}?after=flights:0@0")).await;
    refused.assert_problem(400, "a stream tells of every change");

    let mut streams: Vec<Stream> = (0..3).map(|_| Stream::open(&site, PATH, &[])).collect();
    assert!(streams.iter().all(|stream| stream.head.status == 200));
    let refused = site.get(PATH).await;
    refused.assert_problem(503, "as many streams as it may");
    streams.pop();
    // The host notices that the reader has gone.
    wait::until("a free place", async || {
        let stream = Stream::open(&site, PATH, &[]);
        match stream.head.status {
            200 => Ok(()),
            status => Err(status),
        }
    })
    .await;
}
