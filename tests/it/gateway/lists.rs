//! Documents by declared indexes, page by page.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bson::{DateTime, rawdoc};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::site::Site;

/// The ids of a page.
fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let documents = answer.json()["documents"].clone();
    let documents = documents.as_array().expect("a list").iter();
    let id = |document: &Value| document["_id"].as_str().expect("a text").to_owned();
    documents.map(id).collect()
}

async fn list(site: &Site, query: &str) -> Vec<String> {
    ids(&site.get(&format!("/views/aircraft?{query}")).await)
}

/// All pages of a list, `limit` documents each.
async fn pages(site: &Site, query: &str, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/views/aircraft?{query}&limit={limit}{cursor}");
        let answer = site.get(&path).await;
        let page = ids(&answer);
        let next = answer.json()["next"].as_str().map(str::to_owned);
        assert!(page.len() == limit || next.is_none(), "{answer:?}");
        all.extend(page);
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
        assert!(all.len() < 1_000, "the pages have no end");
    }
}

pub(crate) async fn documents_are_filtered_and_sorted_by_indexes(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    let aircraft = [
        ("N1", "UA", 5_i64),
        ("N2", "AA", 9),
        ("N3", "UA", 2),
        ("N4", "UA", 9),
    ];
    for (id, carrier, legs) in aircraft {
        let body = rawdoc! { "carrier": carrier, "legs": legs, "other": 1_i64 };
        writer.put("aircraft", id, body).await;
    }
    let cases = [
        ("", "N1 N2 N3 N4"),
        ("sort=-_id", "N4 N3 N2 N1"),
        ("carrier=UA", "N3 N1 N4"),
        ("carrier=%22UA%22", "N3 N1 N4"),
        ("carrier=UA&sort=-legs", "N4 N1 N3"),
        ("carrier=UA&legs=gt:2", "N1 N4"),
        ("carrier=UA&legs=gte:2&legs=lt:9", "N3 N1"),
        ("carrier=UA&legs=9", "N4"),
        ("legs=9", "N2 N4"),
        ("legs=9&sort=-_id", "N4 N2"),
        ("legs=gte:5&sort=-legs", "N4 N2 N1"),
        ("legs=lte:5", "N3 N1"),
        ("sort=carrier", "N2 N3 N1 N4"),
        ("sort=-legs", "N4 N2 N1 N3"),
        ("_id=gt:N2", "N3 N4"),
        ("_id=gte:N2&_id=lt:N4", "N2 N3"),
        ("carrier=DL", ""),
        ("limit=2", "N1 N2"),
    ];
    for (query, expected) in cases {
        assert_eq!(list(&site, query).await.join(" "), expected, "{query}");
    }
    let answer = site.get("/views/aircraft?carrier=AA&fields=legs").await;
    assert_eq!(
        answer.json(),
        json!({ "documents": [{ "_id": "N2", "legs": 9 }] })
    );
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
    // A view without indexes has its ids.
    let airports = site.get("/views/airports").await;
    assert_eq!(airports.json(), json!({ "documents": [] }));
}

pub(crate) async fn values_are_told_apart_by_their_types(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    let mut put = async |id: &str, body| {
        writer.put("aircraft", id, body).await;
    };
    let (early, late) = (DateTime::from_millis(0), DateTime::from_millis(86_400_000));
    put("date-1", rawdoc! { "last": { "on": early } }).await;
    put("date-2", rawdoc! { "last": { "on": late } }).await;
    put("false", rawdoc! { "active": false }).await;
    put("half", rawdoc! { "active": 0.5 }).await;
    put("null", rawdoc! { "active": null }).await;
    put("one", rawdoc! { "active": 1_i64 }).await;
    put("text", rawdoc! { "active": "1" }).await;
    put("true", rawdoc! { "active": true }).await;
    let date = |ms: &str| format!("%7B%22$date%22:%22{ms}%22%7D");
    let cases = [
        ("active=1".to_owned(), "one"),
        ("active=1.0".to_owned(), "one"),
        ("active=0.5".to_owned(), "half"),
        ("active=true".to_owned(), "true"),
        ("active=false".to_owned(), "false"),
        ("active=%221%22".to_owned(), "text"),
        ("active=null".to_owned(), "date-1 date-2 null"),
        ("active=gt:0".to_owned(), "half one"),
        ("active=gte:%22%22".to_owned(), "text"),
        ("active=lt:%22a%22".to_owned(), "text"),
        ("active=lt:2".to_owned(), "half one"),
        ("active=lte:true".to_owned(), "false true"),
        (
            format!("last.on={}", date("1970-01-01T00:00:00Z")),
            "date-1",
        ),
        (
            format!("last.on=gt:{}", date("1970-01-01T00:00:00Z")),
            "date-2",
        ),
        (
            format!("last.on=lte:{}", date("1970-01-02T00:00:00Z")),
            "date-1 date-2",
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(list(&site, &query).await.join(" "), expected, "{query}");
    }
}

pub(crate) async fn pages_make_up_the_whole_in_either_order(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    for number in 0..23_i64 {
        let carrier = if number % 2 == 0 { "UA" } else { "AA" };
        let body = rawdoc! { "carrier": carrier, "legs": number % 4 };
        writer.put("aircraft", &format!("N{number:02}"), body).await;
    }
    let queries = [
        "sort=_id",
        "sort=-_id",
        "sort=legs",
        "sort=-legs",
        "sort=carrier",
        "sort=-carrier",
        "carrier=UA",
        "carrier=UA&sort=-legs",
        "carrier=UA&legs=2",
        "legs=gte:1&legs=lte:2",
        "legs=gte:1&legs=lte:2&sort=-legs",
        "legs=gt:1&legs=lt:3&sort=-legs",
        "_id=gt:N03&_id=lte:N20&sort=-_id",
    ];
    for query in queries {
        let whole = list(&site, query).await;
        assert!(!whole.is_empty(), "{query}");
        for limit in [1, 3, whole.len()] {
            assert_eq!(
                pages(&site, query, limit).await,
                whole,
                "{query} by {limit}"
            );
        }
    }
    // What comes between two pages is in neither or in one, and nothing else is moved.
    let first = site.get("/views/aircraft?sort=legs&limit=3").await;
    let next = first.json()["next"].as_str().expect("a cursor").to_owned();
    let last = ids(&first).pop().expect("three");
    writer.delete("aircraft", &last).await;
    let rest = site
        .get(&format!("/views/aircraft?sort=legs&cursor={next}"))
        .await;
    let all = list(&site, "sort=legs").await;
    assert_eq!(ids(&rest), all[2..], "behind {last}, which is gone");
}

pub(crate) async fn documents_without_the_field_are_listed_too(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    for number in 0..4_i64 {
        writer
            .put(
                "aircraft",
                &format!("with-{number}"),
                rawdoc! { "legs": number },
            )
            .await;
        writer
            .put("aircraft", &format!("without-{number}"), rawdoc! {})
            .await;
    }
    let without = ["without-0", "without-1", "without-2", "without-3"];
    let with = ["with-0", "with-1", "with-2", "with-3"];
    let up = [without, with].concat();
    let mut down = up.clone();
    down.reverse();
    for limit in [1, 3, 8] {
        assert_eq!(pages(&site, "sort=legs", limit).await, up, "by {limit}");
        assert_eq!(pages(&site, "sort=-legs", limit).await, down, "by {limit}");
        assert_eq!(
            pages(&site, "legs=null", limit).await,
            without,
            "by {limit}"
        );
    }
}

pub(crate) async fn a_list_may_wait_for_a_position(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    writer.aircraft("N1", 1).await;
    let fresh = site.get("/views/aircraft?after=flights:0@0").await;
    assert_eq!(ids(&fresh), ["N1"]);
    assert_eq!(fresh.header("projectionist-freshness"), Some("fresh"));
    let position = fresh.header("projectionist-position");
    assert_eq!(position, Some("flights:0@0"));
    let stale = site.get("/views/aircraft?after=flights:0@1").await;
    stale.assert_problem(412, "lacks 1 offsets");
    let parked = writer.park("N1").await;
    let stuck = site
        .get(&format!("/views/aircraft?after=flights:0@{parked}"))
        .await;
    stuck.assert_problem(409, "is parked");
}

pub(crate) async fn what_no_index_serves_is_refused(site: Arc<Site>) {
    let cases = [
        (
            "miles=1",
            "cannot be filtered by \"miles\"; declared indexes have carrier, legs",
        ),
        ("sort=miles", "cannot be sorted by \"miles\""),
        ("last=1", "cannot be filtered by \"last\""),
        (
            "last.on=1&legs=1",
            "no index of view \"aircraft\" serves this request",
        ),
        ("legs=gt:1&sort=_id", "no index of view"),
        ("legs=gt:null", "nothing is more or less than null"),
        ("legs=%5B1%5D", "compares with no single value"),
        ("limit=0", "limit=0 is no number from 1 to 1000"),
        ("limit=1001", "is no number"),
        ("limit=1&limit=2", "given twice"),
        ("wait=1s", "give it as after=TOKEN"),
    ];
    for (query, words) in cases {
        let answer = site.get(&format!("/views/aircraft?{query}")).await;
        answer.assert_problem(400, words);
    }
    let answer = site.get("/views/airports?legs=1").await;
    answer.assert_problem(
        400,
        "cannot be filtered by \"legs\"; declared indexes have _id",
    );
    site.get("/views/nowhere")
        .await
        .assert_problem(404, "there is no view \"nowhere\"");
}

pub(crate) async fn a_cursor_of_another_list_is_refused(site: Arc<Site>) {
    let mut writer = site.writer(0).await;
    for number in 0..3 {
        writer.aircraft(&format!("N{number}"), number).await;
    }
    let page = site.get("/views/aircraft?sort=legs&limit=1").await;
    let cursor = page.json()["next"].as_str().expect("a cursor").to_owned();
    // Size and fields may change from page to page.
    let path = format!("/views/aircraft?sort=legs&limit=2&fields=legs&cursor={cursor}");
    assert_eq!(ids(&site.get(&path).await), ["N1", "N2"]);

    for query in ["sort=-legs", "sort=_id", "legs=1", "legs=gt:0"] {
        let answer = site
            .get(&format!("/views/aircraft?{query}&cursor={cursor}"))
            .await;
        answer.assert_problem(400, "the cursor is of another list");
    }
    let airports = site.get(&format!("/views/airports?cursor={cursor}")).await;
    airports.assert_problem(400, "the cursor is of another list");
    let cut = &cursor[..cursor.len() - 4];
    // One that is altered, and one without its signature.
    let mut altered = cursor.clone().into_bytes();
    let last = altered.len() / 2;
    altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).expect("ASCII");
    let place = rawdoc! { "of": "x", "at": [i64::MAX, "\u{10ffff}"] };
    let forged = URL_SAFE_NO_PAD.encode(place.as_bytes());
    for broken in ["", "x", "%00", cut, "////", "AAAA", &altered, &forged] {
        let answer = site
            .get(&format!("/views/aircraft?sort=legs&cursor={broken}"))
            .await;
        answer.assert_problem(400, "this is no cursor");
    }
}
