//! Readers that are slow, many or out of their minds.

use std::io::Read as _;
use std::time::{Duration, Instant};

use bson::rawdoc;
use projectionist::gateway::Limits;
use projectionist_tests::wait;

use crate::client::Connection;
use crate::site::{Kind, Site, limits};

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_told_so() {
    let site = Site::new(Kind::Embedded).await;
    let header = "x".repeat(1 << 20);
    let mut connection = site.connect();
    let answer = connection.get("/views/aircraft/N1", &[("x-large", &header)]);
    answer.assert_problem(431, "a request's head may have 32768 bytes");
    assert_eq!(connection.line(), None, "the connection ends");

    let path = format!("/views/aircraft/{header}");
    let answer = site.get(&path).await;
    assert!([414, 431].contains(&answer.status), "{answer:?}");
    answer.assert_problem(answer.status, "may have 32768 bytes");

    let mut connection = site.connect();
    connection.send(b"\x16\x03\x01 no HTTP\r\n\r\n");
    connection
        .read(false)
        .assert_problem(400, "this is no HTTP request");

    // Just small enough.
    let header = "x".repeat(16 << 10);
    let answer = site
        .get_with("/views/aircraft/N1", &[("x-large", &header)])
        .await;
    answer.assert_problem(404, "has no document");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_cut_off_and_holds_up_nobody() {
    let limits = Limits {
        write_timeout: Duration::from_millis(300),
        connections_max: 2,
        ..limits()
    };
    let site = Site::with_limits(Kind::Embedded, limits).await;
    let large = rawdoc! { "text": "x".repeat(15 << 20) };
    site.writer(0).await.put("aircraft", "large", large).await;

    let mut slow = site.connect();
    slow.send(b"GET /views/aircraft/large HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut head = [0; 12];
    slow.stream()
        .read_exact(&mut head)
        .expect("the answer begins");
    assert_eq!(&head, b"HTTP/1.1 200");
    // From here on it takes nothing. Meanwhile another one is answered, again and again.
    let mut other = site.connect();
    let began = Instant::now();
    wait::until("the slow reader's place to be free", async || {
        let answer = other.get("/views/aircraft/N1", &[]);
        assert_eq!(answer.status, 404);
        let third = Connection::open(site.address).get("/views/aircraft/N1", &[]);
        match third.status {
            404 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    assert!(began.elapsed() >= Duration::from_millis(200));
    let mut rest = Vec::new();
    let ended = slow.stream().read_to_end(&mut rest);
    assert!(ended.is_err() || rest.len() < 15 << 20, "{}", rest.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_ends_its_connection() {
    let limits = Limits {
        idle_timeout: Duration::from_millis(300),
        ..limits()
    };
    let site = Site::with_limits(Kind::Embedded, limits).await;
    let mut silent = site.connect();
    let mut half = site.connect();
    half.send(b"GET /views/aircraft/N1 HTTP/1.1\r\nhost: ");
    let mut done = site.connect();
    assert_eq!(done.get("/views/aircraft/N1", &[]).status, 404);
    for connection in [&mut silent, &mut half, &mut done] {
        let mut rest = Vec::new();
        let ended = connection.stream().read_to_end(&mut rest);
        ended.expect("the connection ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_leave_the_host_standing() {
    const CONNECTIONS_MAX: usize = 1_000;
    const READERS: usize = 10_000;
    // Both ends of each connection are files of this process.
    let files = rlimit::increase_nofile_limit(4 * READERS as u64).expect("a limit");
    let readers = READERS.min(usize::try_from(files).expect("not many") / 2 - 1_000);
    assert!(
        readers > 2 * CONNECTIONS_MAX,
        "this process may have {files} files only"
    );
    let limits = Limits {
        connections_max: CONNECTIONS_MAX,
        connections_per_address_max: CONNECTIONS_MAX,
        ..limits()
    };
    let site = Site::with_limits(Kind::Embedded, limits).await;
    site.writer(0).await.aircraft("N1", 1).await;

    let mut first = site.connect();
    assert_eq!(first.get("/views/aircraft/N1", &[]).status, 200);
    let address = site.address;
    let crowd = tokio::task::spawn_blocking(move || {
        let crowd = (0..readers).map(|_| Connection::open(address));
        crowd.collect::<Vec<_>>()
    });
    let mut crowd = crowd.await.expect("all connect");
    // Whoever has a connection is served on, and those who have none are told why.
    assert_eq!(first.get("/views/aircraft/N1", &[]).status, 200);
    for connection in crowd.iter_mut().rev().take(10) {
        let answer = connection.read(false);
        answer.assert_problem(503, "as many connections as it may have");
    }
    for connection in crowd.iter_mut().take(10) {
        assert_eq!(connection.get("/views/aircraft/N1", &[]).status, 200);
    }
    drop(crowd);
    wait::until("a free place", async || {
        let answer = Connection::open(address).get("/views/aircraft/N1", &[]);
        match answer.status {
            200 => Ok(()),
            status => Err(status),
        }
    })
    .await;
}

/// Loopback addresses of three clients.
const GREEDY: [u8; 4] = [127, 0, 0, 2];
const OTHER: [u8; 4] = [127, 0, 0, 3];
const THIRD: [u8; 4] = [127, 0, 0, 4];

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_all_connections_leaves_some_to_others() {
    let limits = Limits {
        connections_max: 20,
        connections_per_address_max: 20,
        ..limits()
    };
    let site = Site::with_limits(Kind::Embedded, limits).await;
    site.writer(0).await.aircraft("N1", 1).await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(Connection::open_from(GREEDY, site.address).await);
    }
    // The first has been served last, and so is not the longest idle one.
    for connection in &mut crowd[1..] {
        assert_eq!(connection.get("/views/aircraft/N1", &[]).status, 200);
    }
    assert_eq!(crowd[0].get("/views/aircraft/N1", &[]).status, 200);
    let refused = Connection::open_from(GREEDY, site.address)
        .await
        .read(false);
    refused.assert_problem(503, "as many connections as it may have");
    for from in [OTHER, OTHER, THIRD] {
        let mut newcomer = Connection::open_from(from, site.address).await;
        let answer = newcomer.get("/views/aircraft/N1", &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        crowd.push(newcomer);
    }
    assert_eq!(crowd[0].get("/views/aircraft/N1", &[]).status, 200);
    for connection in &mut crowd[1..4] {
        assert_eq!(connection.line(), None, "the longest idle ones have gone");
    }
    assert_eq!(crowd[4].get("/views/aircraft/N1", &[]).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_its_share_of_the_connections() {
    let limits = Limits {
        connections_max: 20,
        connections_per_address_max: 5,
        ..limits()
    };
    let site = Site::with_limits(Kind::Embedded, limits).await;
    let mut crowd = Vec::new();
    for _ in 0..5 {
        crowd.push(Connection::open_from(GREEDY, site.address).await);
    }
    let refused = Connection::open_from(GREEDY, site.address)
        .await
        .read(false);
    refused.assert_problem(503, "your address has as many connections as it may have");
    let mut other = Connection::open_from(OTHER, site.address).await;
    assert_eq!(other.get("/views/aircraft/N1", &[]).status, 404);
    assert_eq!(crowd[0].get("/views/aircraft/N1", &[]).status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_one_host_and_comes_from_no_other_site() {
    let site = Site::new(Kind::Embedded).await;
    let ask = |head: &str| {
        let mut connection = site.connect();
        connection.send(format!("{head}\r\n\r\n").as_bytes());
        connection.read(false)
    };
    let path = "GET /views/aircraft/N1 HTTP/1.1";
    ask(path).assert_problem(400, "has no header Host");
    ask(&format!("{path}\r\nhost: localhost\r\nhost: localhost"))
        .assert_problem(400, "more than one header Host");
    ask("GET http://example.org/views/aircraft/N1 HTTP/1.1\r\nhost: localhost")
        .assert_problem(400, "name different hosts");
    for header in [
        "sec-fetch-site: cross-site",
        "sec-fetch-site: same-site",
        "origin: https://example.org",
    ] {
        ask(&format!("{path}\r\nhost: localhost\r\n{header}"))
            .assert_problem(403, "not to other sites' pages");
    }
    for header in ["sec-fetch-site: none", "sec-fetch-site: same-origin"] {
        let answer = ask(&format!("{path}\r\nhost: localhost\r\n{header}"));
        answer.assert_problem(404, "has no document");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_is_under_way_and_ends_the_rest() {
    let site = Site::new(Kind::Embedded).await;
    let mut writer = site.writer(0).await;
    let mut idle = site.connect();
    assert_eq!(idle.get("/views/aircraft/N1", &[]).status, 404);
    let mut waiting = site.connect();
    waiting.send(
        b"GET /views/aircraft/N1?after=flights:0@0&wait=1m HTTP/1.1\r\nhost: localhost\r\n\r\n",
    );
    // It is under way once another one of its connection's age has been answered.
    assert_eq!(site.get("/views/aircraft/N1").await.status, 404);
    site.stop.cancel();
    assert_eq!(idle.line(), None, "an idle connection ends");
    writer.aircraft("N1", 1).await;
    assert_eq!(waiting.read(false).status, 200);
    assert_eq!(waiting.line(), None);
}
