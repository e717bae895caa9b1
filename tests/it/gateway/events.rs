//! A document whenever it changes.

use std::sync::Arc;
use std::time::Duration;

use projectionist::gateway::access::{Access, Token};
use projectionist::gateway::jwt::Jwt;
use projectionist::gateway::{Limits, Setup};
use projectionist_tests::wait;
use serde_json::{Value, json};

use crate::access::{SECRET, claims, hs256, now, roles, terms};
use crate::client::{Answer, Connection};
use crate::site::{Kind, Site, limits};

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
        // The connection ends with the stream, so that its end is seen at once.
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            site.address
        );
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

/// A gateway that takes tokens and JWTs, and where comments come quickly.
async fn guarded(tokens: Vec<Token>) -> (Site, Access) {
    let access = Access::new(tokens, Some(Jwt::with_secret(SECRET, terms())), roles());
    let setup = Setup {
        access: access.clone(),
        ..Setup::default()
    };
    let limits = Limits {
        stream_keep_alive: Duration::from_millis(100),
        ..limits()
    };
    (Site::with(Kind::Embedded, limits, setup).await, access)
}

fn bearer(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

fn open(site: &Site, token: &str) -> Stream {
    let [(name, value)] = bearer(token);
    Stream::open(site, PATH, &[(name, &value)])
}

/// Changes a document again and again until the stream has ended.
async fn change_until_the_end(site: &Site, id: &'static str, mut stream: Stream) {
    let mut writer = site.writer(0).await;
    let read = tokio::task::spawn_blocking(move || while stream.next().is_some() {});
    wait::until("the stream to end", async || {
        writer.aircraft(id, 1).await;
        read.is_finished().then_some(()).ok_or("open")
    })
    .await;
    read.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token() {
    let (site, _) = guarded(Vec::new()).await;
    // The clocks may differ by 30 seconds, so these have five more.
    for id in ["N1", "N2"] {
        let token = hs256(SECRET, &claims(json!({ "exp": now() - 25 })));
        let stream = open(&site, &token);
        assert_eq!(stream.head.status, 200);
        // On a busy document, and on a quiet one while others change.
        change_until_the_end(&site, id, stream).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_is_not_taken_any_more() {
    let token = |secret| Token::new("board", secret, "some");
    let (site, access) = guarded(vec![token("b-secret")]).await;
    let mut stream = open(&site, "b-secret");
    let jwt = hs256(SECRET, &claims(json!({})));
    let mut other = open(&site, &jwt);
    for stream in [&mut stream, &mut other] {
        assert_eq!(stream.next().expect("an event").event, "missing");
    }
    // The same token again, then another one.
    let jwts = || Some(Jwt::with_secret(SECRET, terms()));
    access.replace(vec![token("b-secret")], jwts());
    site.writer(0).await.aircraft("N1", 1).await;
    assert_eq!((legs(&mut stream), legs(&mut other)), (1, 1));
    access.replace(vec![token("new-secret")], jwts());
    assert_eq!(stream.next(), None);
    let another = "another secret of at least thirty-two bytes";
    access.replace(
        vec![token("new-secret")],
        Some(Jwt::with_secret(another, terms())),
    );
    assert_eq!(other.next(), None);
    open(&site, "b-secret").head.assert_status(401);
    open(&site, "new-secret").head.assert_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_comes_whatever_else_changes() {
    let (site, _) = guarded(vec![Token::new("board", "b-secret", "some")]).await;
    let mut stream = open(&site, "b-secret");
    let mut writer = site.writer(0).await;
    // Something else changes all the while, faster than the stream looks.
    let comments = tokio::task::spawn_blocking(move || {
        let mut comments = 0;
        while comments < 5 {
            let line = stream.connection.line().expect("the stream goes on");
            comments += usize::from(line == ":");
        }
    });
    wait::until("five comments", async || {
        writer.aircraft("N2", 1).await;
        comments.is_finished().then_some(()).ok_or("fewer")
    })
    .await;
    comments.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_streams_of_its_view_and_nothing_else() {
    let token = |secret| Token::new("duty", secret, "all");
    let (site, access) = guarded(vec![
        token("d-secret"),
        Token::new("board", "b-secret", "some"),
    ])
    .await;
    let ticket = |path: &str, token: &str| {
        let [(name, value)] = bearer(token);
        site.connect().ask("POST", path, &[(name, &value)])
    };
    ticket(PATH, "guess").assert_problem(401, "neither one of the gateway's nor a JWT");
    ticket("/views/airports/JFK/events", "b-secret").assert_problem(403, "may not read a view");
    let given = ticket(PATH, "d-secret");
    assert_eq!(given.status, 201, "{given:?}");
    assert_eq!(given.header("cache-control"), Some("no-store"));
    assert_eq!(given.json()["expires_in"], 60);
    let text = given.json()["ticket"].as_str().expect("a text").to_owned();

    let mut stream = Stream::open(&site, &format!("{PATH}?ticket={text}&fields=legs"), &[]);
    assert_eq!(stream.head.status, 200);
    assert_eq!(stream.next().expect("an event").event, "missing");
    let refused = [
        (format!("/views/airports/JFK/events?ticket={text}"), 403),
        (format!("/views/aircraft/N1?ticket={text}"), 401),
        (format!("/views/aircraft?ticket={text}"), 401),
        (format!("{PATH}?ticket={}", "0".repeat(64)), 401),
        (format!("{PATH}?ticket="), 401),
    ];
    for (path, status) in refused {
        let answer = site.get(&path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!answer.body.contains(&text), "{answer:?}");
    }
    // It is worth no more than its token.
    access.replace(vec![token("new-secret")], None);
    assert_eq!(stream.next(), None);
    let gone = site.get(&format!("{PATH}?ticket={text}")).await;
    gone.assert_problem(401, "not taken any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_its_share_of_the_streams() {
    let tokens = vec![
        Token::new("one", "1-secret", "all"),
        Token::new("two", "2-secret", "all"),
    ];
    let setup = Setup {
        access: Access::new(tokens, None, roles()),
        ..Setup::default()
    };
    let limits = Limits {
        streams_per_client_max: 2,
        ..limits()
    };
    let site = Site::with(Kind::Embedded, limits, setup).await;
    let _own = [(); 2].map(|()| open(&site, "1-secret"));
    let [(name, value)] = bearer("1-secret");
    let refused = site.get_with(PATH, &[(name, &value)]).await;
    refused.assert_problem(429, "this host serves you as many streams as it may");
    assert_eq!(open(&site, "2-secret").head.status, 200);
}
