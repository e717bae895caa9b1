//! Reading what was written before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use projectionist_tests::wait;

use crate::site::Site;

pub(crate) async fn an_answer_names_its_position(site: Arc<Site>) {
    let mut first = site.writer(0).await;
    let mut third = site.writer(3).await;
    for _ in 0..5 {
        first.aircraft("N1", 1).await;
    }
    third.aircraft("N2", 1).await;
    // Nobody waits for it, so it is noticed at the next look.
    wait::until("the position to be noticed", async || {
        let answer = site.get("/views/aircraft/N1").await;
        let position = answer.header("projectionist-position").map(str::to_owned);
        assert_eq!(answer.header("projectionist-freshness"), None);
        match position.as_deref() {
            Some("flights:0@4,3@0") => Ok(()),
            _ => Err(position),
        }
    })
    .await;
    // It is told where there is nothing else to tell, too.
    let nothing = site.get("/views/airports/JFK").await;
    assert_eq!(nothing.status, 404);
    let position = nothing.header("projectionist-position");
    assert_eq!(position, Some("flights:0@4,3@0"));
}

pub(crate) async fn a_position_that_is_not_reached_is_told_with_its_lag(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    writer.aircraft("N1", 1).await;
    let path = "/views/aircraft/N1?after=flights:0@4,1@0";

    let stale = site.get(path).await;
    stale.assert_problem(412, "lacks 5 offsets of the position");
    let problem = stale.json();
    assert_eq!(
        (&problem["outcome"], &problem["lag"]),
        (&"stale".into(), &5.into())
    );
    assert_eq!(stale.header("projectionist-freshness"), Some("stale"));
    assert_eq!(stale.header("projectionist-position"), Some("flights:0@0"));
    assert_eq!(stale.header("retry-after"), Some("1"));

    let began = Instant::now();
    let late = site.get(&format!("{path}&wait=300ms")).await;
    late.assert_problem(504, "still lacked 5 offsets");
    assert_eq!(late.json()["outcome"], "timed-out");
    assert_eq!(late.header("projectionist-freshness"), Some("timed-out"));
    assert!(began.elapsed() >= Duration::from_millis(300));

    // What is there already does not wait.
    let fresh = site
        .get("/views/aircraft/N1?after=flights:0@0&wait=1m")
        .await;
    assert_eq!(fresh.status, 200);
    assert_eq!(fresh.header("projectionist-freshness"), Some("fresh"));
}

pub(crate) async fn whoever_waits_is_answered_when_the_position_is_reached(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    writer.aircraft("N1", 1).await;
    let waiting = Arc::clone(&site);
    let waiting = tokio::spawn(async move {
        waiting
            .get("/views/aircraft/N1?after=flights:0@2&wait=1m")
            .await
    });
    writer.aircraft("N1", 2).await;
    // Not far enough: the wait goes on.
    let stale = site.get("/views/aircraft/N1?after=flights:0@2").await;
    assert_eq!(stale.status, 412);
    writer.aircraft("N1", 3).await;
    let answer = waiting.await.expect("an answer");
    assert_eq!((answer.status, &answer.json()["legs"]), (200, &3.into()));
    assert_eq!(answer.header("projectionist-freshness"), Some("fresh"));
}

pub(crate) async fn a_token_that_names_nothing_is_refused(site: Arc<Site>) {
    let cases = [
        (
            "x",
            "after: \"x\" is no position; write TOPIC:PARTITION@OFFSET",
        ),
        ("flights:0@x", "is no position"),
        ("flights:0@9223372036854775807", "is no position"),
        (
            "orders:0@1",
            "view \"aircraft\" is not made of topic \"orders\", but of flights",
        ),
        ("flights:0@0;orders:0@1", "not made of topic \"orders\""),
    ];
    for (token, words) in cases {
        let answer = site.get(&format!("/views/aircraft/N1?after={token}")).await;
        answer.assert_problem(400, words);
    }
}

pub(crate) async fn a_parked_key_ends_the_wait(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    writer.aircraft("N1", 1).await;
    writer.aircraft("N2", 1).await;
    let parked = writer.park("N1").await;
    let last = writer.aircraft("N2", 2).await;

    let stuck = site
        .get(&format!(
            "/views/aircraft/N1?after=flights:0@{last}&wait=1m"
        ))
        .await;
    stuck.assert_problem(409, "projectionist parked show flights/flights/0/2");
    assert_eq!(stuck.json()["outcome"], "parked");
    assert_eq!(stuck.json()["parked"], "flights/flights/0/2");
    assert_eq!(stuck.header("projectionist-freshness"), Some("parked"));

    // Other keys, earlier positions and those who ask for none are not concerned.
    for path in [
        format!("N2?after=flights:0@{last}"),
        format!("N1?after=flights:0@{}", parked - 1),
        "N1".to_owned(),
    ] {
        let answer = site.get(&format!("/views/aircraft/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }

    // Which documents of a shared view the event would have touched nobody knows: its own
    // position is refused, and no other.
    writer
        .put("airports", "JFK", bson::rawdoc! { "n": 1_i64 })
        .await;
    let airport = |offset: i64| format!("/views/airports/JFK?after=flights:0@{offset}");
    site.get(&airport(parked))
        .await
        .assert_problem(409, "is parked");
    assert_eq!(site.get(&airport(last + 1)).await.status, 200);
}

/// How often a reader reads its own write; `PROJECTIONIST_TEST_READS` has another number.
const READS: usize = 1_000;

pub(crate) async fn no_reader_sees_less_than_was_written_before(site: Arc<Site>) {
    let reads = std::env::var("PROJECTIONIST_TEST_READS").ok();
    let reads = reads.map_or(READS, |reads| reads.parse().expect("a number"));
    const READERS: usize = 4;
    let mut tasks = tokio::task::JoinSet::new();
    for reader in 0..READERS {
        let mut writer = site.writer(i32::try_from(reader).expect("few")).await;
        let address = site.address;
        tasks.spawn(async move {
            let mut connection = Some(crate::client::Connection::open(address));
            for round in 0..reads / READERS {
                let legs = i64::try_from(round).expect("not many");
                let id = format!("N{reader}");
                let offset = writer.aircraft(&id, legs).await;
                let path = format!("/views/aircraft/{id}?after=flights:{reader}@{offset}&wait=1m");
                let mut own = connection.take().expect("one at a time");
                let asked = tokio::task::spawn_blocking(move || {
                    let answer = own.get(&path, &[]);
                    (own, answer)
                });
                let (own, answer) = asked.await.expect("an answer");
                connection = Some(own);
                assert_eq!((answer.status, &answer.json()["legs"]), (200, &legs.into()));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no reader is told less");
    }
}
