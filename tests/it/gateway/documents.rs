//! One document by its id.

use std::sync::Arc;

use bson::{DateTime, rawdoc};
use serde_json::json;

use crate::site::Site;

pub(crate) async fn a_document_is_read_by_its_id(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    let body = rawdoc! {
        "legs": 4_i64,
        "share": 0.1,
        "landed": DateTime::from_millis(1_357_034_400_000),
        "far": [
            DateTime::from_millis(253_402_300_800_000),
            DateTime::from_millis(i64::MAX),
            DateTime::from_millis(-1),
        ],
        "large": "18446744073709551616".parse::<bson::Decimal128>().expect("a decimal"),
        "at": { "airport": "JFK", "list": [1_i64, null, true] },
    };
    let odd = "N1/\u{e4} \"?";
    for id in ["N1", odd] {
        writer.put("aircraft", id, body.clone()).await;
    }
    for (id, path) in [("N1", "N1"), (odd, "N1%2F%C3%A4%20%22%3F")] {
        let answer = site.get(&format!("/views/aircraft/{path}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
        let expected = json!({
            "_id": id,
            "legs": 4,
            "share": 0.1,
            "landed": { "$date": "2013-01-01T10:00:00Z" },
            "far": [
                { "$date": { "$numberLong": "253402300800000" } },
                { "$date": { "$numberLong": "9223372036854775807" } },
                { "$date": { "$numberLong": "-1" } },
            ],
            "large": { "$numberDecimal": "18446744073709551616" },
            "at": { "airport": "JFK", "list": [1, null, true] },
        });
        assert_eq!(answer.json(), expected);
    }

    let mut connection = site.connect();
    let head = connection.ask("HEAD", "/views/aircraft/N1", &[]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    // The connection goes on.
    assert_eq!(connection.get("/views/aircraft/N1", &[]).status, 200);
}

pub(crate) async fn what_is_not_there_is_told_so(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    writer.aircraft("N1", 1).await;
    writer.delete("aircraft", "N1").await;
    let cases = [
        (
            "/views/aircraft/N1",
            404,
            "view \"aircraft\" has no document \"N1\"",
        ),
        ("/views/aircraft/N2", 404, "has no document \"N2\""),
        (
            "/views/airports/N1",
            404,
            "view \"airports\" has no document",
        ),
        ("/views/nowhere/N1", 404, "there is no view \"nowhere\""),
        ("/views/_checkpoints/N1", 404, "there is no view"),
        ("/views/aircraft.v1/N1", 404, "there is no view"),
        ("/", 404, "nothing at this path"),
        ("/views/aircraft/N1/more", 404, "nothing at this path"),
        ("/views/aircraft/%ff", 400, "not UTF-8"),
    ];
    for (path, status, words) in cases {
        site.get(path).await.assert_problem(status, words);
    }
    let post = site
        .connect()
        .ask("POST", "/views/aircraft/N1", &[("content-length", "0")]);
    post.assert_problem(405, "changed by events only");
    assert_eq!(post.header("allow"), Some("GET, HEAD"));
}

pub(crate) async fn a_version_that_is_known_is_not_sent_again(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    writer.aircraft("N1", 1).await;
    let first = site.get("/views/aircraft/N1").await;
    let etag = first.header("etag").expect("a version").to_owned();
    assert_eq!(etag, "\"1-flights-0-0-5eed01234567\"");

    let known = [("if-none-match", etag.as_str())];
    let again = site.get_with("/views/aircraft/N1", &known).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.header("etag"), Some(etag.as_str()));

    writer.aircraft("N1", 1).await;
    let newer = site.get_with("/views/aircraft/N1", &known).await;
    assert_eq!(newer.status, 200);
    assert_eq!(newer.header("etag"), Some("\"2-flights-0-1-5eed01234567\""));
}

pub(crate) async fn fields_are_chosen(site: Arc<Site>) {
    site.writer(0).await.aircraft("N1", 7).await;
    let answer = site
        .get("/views/aircraft/N1?fields=last.airport,none")
        .await;
    let expected = json!({ "_id": "N1", "last": { "airport": "JFK" } });
    assert_eq!(answer.json(), expected);
}

pub(crate) async fn a_query_that_is_not_understood_is_refused(site: Arc<Site>) {
    let cases = [
        ("tail=1", "there is no parameter \"tail\" here"),
        ("fields=", "which is no field"),
        ("wait=1s", "give it as after=TOKEN"),
        ("after=flights:0@1&wait=2m", "waits 1m at most"),
        ("after=flights:0@1&after=flights:0@1", "given twice"),
    ];
    for (query, words) in cases {
        let answer = site.get(&format!("/views/aircraft/N1?{query}")).await;
        answer.assert_problem(400, words);
    }
}
