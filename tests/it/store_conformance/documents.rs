//! What comes back of what was stored.

use std::sync::Arc;

use bson::raw::RawDocumentBuf;
use bson::{Bson, doc, rawdoc};
use projectionist::document::DOCUMENT_BYTES_MAX;
use projectionist::projection::DocumentId;
use projectionist::record::{Offset, TopicPartition};
use projectionist::store::{Answer, Guard, Provenance, StoredDocument, ViewId};

use crate::fixtures::{Batch, State, aircraft, document, load, owner, partition, scan};
use crate::site::Site;

pub(crate) async fn documents_come_in_the_order_of_the_ids(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    Batch::over(&partition(0), epoch, 0..1)
        .insert("a", &document(1))
        .insert("b", &document(2))
        .insert("c", &document(3))
        .store(&store)
        .await
        .expect("the owner may commit");

    assert_eq!(load(&store, &[]).await, []);
    let expected = [
        Some(document(3)),
        None,
        Some(document(1)),
        Some(document(3)),
        None,
    ];
    let ids = ["c", "missing", "a", "c", "missing"];
    assert_eq!(load(&store, &ids).await, expected);
}

pub(crate) async fn documents_that_are_too_large_together_are_given_up(site: Arc<Site>) {
    let large = StoredDocument {
        body: rawdoc! { "text": "x".repeat(100_000) },
        ..document(1)
    };
    let (store, epoch) = owner(&site).await;
    Batch::over(&partition(0), epoch, 0..1)
        .insert("a", &large)
        .insert("b", &large)
        .store(&store)
        .await
        .expect("the owner may commit");

    let view = aircraft();
    let load = async |ids: &[&str], bytes_max: usize| {
        let ids: Vec<DocumentId> = ids.iter().map(|id| (*id).into()).collect();
        let loaded = store.load_within(&view, &ids, bytes_max).await;
        loaded.expect("documents can be loaded")
    };
    let both = Some(vec![Some(large.clone()), None, Some(large.clone())]);
    assert_eq!(load(&["a", "missing", "b"], 250_000).await, both);
    assert_eq!(load(&["a", "missing", "b"], 150_000).await, None);
    assert_eq!(load(&["b"], 150_000).await, Some(vec![Some(large)]));
    assert_eq!(load(&["missing"], 0).await, Some(vec![None]));
}

pub(crate) async fn any_string_is_an_id(site: Arc<Site>) {
    let long = "x".repeat(800);
    let ids = [
        "",
        " ",
        "'",
        "\"",
        "a\"b'c`d",
        "a.b",
        ".",
        "$set",
        "$",
        "%",
        "_",
        "*",
        "?1",
        "a\0b",
        "a\0c",
        "\n",
        "a",
        "A",
        "\u{e9}",
        "e\u{301}",
        "\u{ffff}",
        "\u{1f6eb}",
        "1",
        "1.0",
        "null",
        "507f1f77bcf86cd799439011",
        "'; DROP TABLE \"aircraft.v1\"; --",
        long.as_str(),
    ];
    let (store, epoch) = owner(&site).await;
    let mut batch = Batch::over(&partition(0), epoch, 0..1);
    for (id, value) in ids.iter().zip(0..) {
        batch = batch.insert(id, &document(value));
    }
    batch.store(&store).await.expect("the owner may commit");

    let loaded = load(&site.host().await, &ids).await;
    for ((id, value), found) in ids.iter().zip(0..).zip(loaded) {
        assert_eq!(found, Some(document(value)), "{id:?}");
    }
    assert_eq!(scan(&store, None, usize::MAX).await.len(), ids.len());
}

pub(crate) async fn thousands_of_ids_load_at_once(site: Arc<Site>) {
    const IDS: i64 = 10_000;
    let (store, epoch) = owner(&site).await;
    let id = |number: i64| format!("aircraft-{number}");
    let mut batch = Batch::over(&partition(0), epoch, 0..1);
    for number in (0..IDS).step_by(2) {
        batch = batch.insert(&id(number), &document(number));
    }
    batch.store(&store).await.expect("the owner may commit");

    let ids: Vec<DocumentId> = (0..IDS).rev().map(|number| id(number).into()).collect();
    let found = store.load(&aircraft(), &ids).await;
    let found = found.expect("documents can be loaded");
    assert_eq!(found.len(), ids.len());
    for (number, found) in (0..IDS).rev().zip(found) {
        let expected = (number % 2 == 0).then(|| document(number));
        assert_eq!(found, expected, "{number}");
    }
}

pub(crate) async fn large_documents_survive(site: Arc<Site>) {
    // What `document::from_json` lets through at most: 16 KiB below MongoDB's limit.
    let largest = DOCUMENT_BYTES_MAX - 16 * 1024;
    let (store, epoch) = owner(&site).await;
    for (offset, bytes) in [(0, 1024 * 1024), (1, largest)] {
        let mut large = document(0);
        let frame = rawdoc! { "text": "" }.as_bytes().len();
        large.body = rawdoc! { "text": "x".repeat(bytes - frame) };
        assert_eq!(large.body.as_bytes().len(), bytes);

        let id = bytes.to_string();
        let batch = Batch::over(&partition(0), epoch, offset..offset + 1).insert(&id, &large);
        batch.store(&store).await.expect("the owner may commit");
        let found = load(&site.host().await, &[&id]).await;
        assert!(found == [Some(large)], "a document of {bytes} bytes");
    }
}

pub(crate) async fn a_read_that_ends_early_says_what_it_left(site: Arc<Site>) {
    const BYTES: usize = 100_000;
    let (store, epoch) = owner(&site).await;
    let mut large = document(0);
    large.body = rawdoc! { "text": "x".repeat(BYTES) };
    let mut batch = Batch::over(&partition(0), epoch, 0..1);
    for number in 0..10 {
        batch = batch.insert(&format!("{number}"), &large);
    }
    batch.store(&store).await.expect("the owner may commit");

    let ids: Vec<DocumentId> = (0..20).map(|number| number.to_string().into()).collect();
    let read = async |bytes_max| {
        let answers = store.load_some(&aircraft(), &ids, bytes_max).await;
        let answers = answers.expect("documents can be loaded");
        assert_eq!(answers.len(), ids.len());
        for (number, answer) in answers.iter().enumerate() {
            match answer {
                Answer::Found(found) => assert!(number < 10 && *found == large, "{number}"),
                Answer::Absent => assert!(number >= 10, "{number}"),
                Answer::Unread => {}
            }
        }
        let answers = answers.iter();
        let found = answers.clone().filter(|a| matches!(a, Answer::Found(_)));
        let left = answers.clone().filter(|a| matches!(a, Answer::Unread));
        (found.count(), left.count())
    };
    assert_eq!(read(usize::MAX).await, (10, 0));
    let (found, left) = read(5 * BYTES / 2).await;
    assert_eq!(found, 3, "one more than fits, and {left} are left");
    assert!(left >= 7, "{left}");
    let (found, _) = read(0).await;
    assert_eq!(found, 1);
}

pub(crate) async fn every_bson_type_survives(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let mut stored = document(0);
    stored.body = RawDocumentBuf::try_from(every_type()).expect("it is valid BSON");
    let batch = Batch::over(&partition(0), epoch, 0..1).insert("a", &stored);
    batch.store(&store).await.expect("the owner may commit");

    let found = load(&site.host().await, &["a"]).await;
    let found = found[0].as_ref().expect("it was stored");
    assert_eq!(found.body.as_bytes(), stored.body.as_bytes());
    let scanned = scan(&store, None, 1).await;
    assert_eq!(scanned[0].1.body.as_bytes(), stored.body.as_bytes());
}

/// Fields in no order, so that one that is sorted shows.
pub(crate) fn every_type() -> bson::Document {
    use bson::spec::BinarySubtype;
    let binary = |subtype, bytes: &[u8]| {
        Bson::Binary(bson::Binary {
            subtype,
            bytes: bytes.to_vec(),
        })
    };
    doc! {
        "z": 1_i32,
        "int64": 1_i64,
        "int64 max": i64::MAX,
        "int32 min": i32::MIN,
        "double": 1.0,
        "negative zero": -0.0,
        "not a number": f64::NAN,
        "infinity": f64::NEG_INFINITY,
        "string": "ü\u{1f6eb}\n\"\\",
        "empty string": "",
        "string with a null byte": "a\0b",
        "true": true,
        "null": Bson::Null,
        "date": bson::DateTime::from_millis(1_357_034_400_123),
        "date before 1970": bson::DateTime::from_millis(-1),
        "date far away": bson::DateTime::from_millis(i64::MAX),
        "decimal": "1.10".parse::<bson::Decimal128>().expect("it is a decimal"),
        "decimal infinity": "-Infinity".parse::<bson::Decimal128>().expect("it is a decimal"),
        "object id": bson::oid::ObjectId::from_bytes([7; 12]),
        "binary": binary(BinarySubtype::Generic, &[0, 255, 1]),
        "uuid": binary(BinarySubtype::Uuid, &[9; 16]),
        "binary of a user's": binary(BinarySubtype::UserDefined(0x80), &[1]),
        "no bytes": binary(BinarySubtype::Generic, &[]),
        "regex": Bson::RegularExpression(bson::Regex {
            pattern: bson::cstr!("^a.*\"").to_owned(),
            options: bson::cstr!("im").to_owned(),
        }),
        "code": Bson::JavaScriptCode("() => 1".to_owned()),
        "timestamp": Bson::Timestamp(bson::Timestamp { time: 7, increment: 8 }),
        "min key": Bson::MinKey,
        "max key": Bson::MaxKey,
        "arrays": [[], [[1_i32, [2_i64, 3.0]], Bson::Null], [{ "a": [{}] }]],
        "empty document": {},
        "nested": { "b": { "a": { "_id": "not the document's", "_m": 1_i32 } } },
        "a.b": "a dot in a name",
        "": "an empty name",
        "a": "last",
    }
}

pub(crate) async fn provenance_survives(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let stored = StoredDocument {
        body: rawdoc! {},
        provenance: Provenance {
            revision: i64::MAX,
            partition: TopicPartition::new("a.topic_with-all.kinds", i32::MAX),
            offset: Offset(i64::MAX),
            plugin: "5e1f".repeat(16).into(),
        },
    };
    let batch = Batch::over(&partition(0), epoch, 0..1).insert("a", &stored);
    batch.store(&store).await.expect("the owner may commit");
    assert_eq!(load(&site.host().await, &["a"]).await, [Some(stored)]);
}

pub(crate) async fn a_host_sees_what_another_has_stored(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let reader = site.host().await;
    assert_eq!(load(&reader, &["a"]).await, [None]);

    for offset in 0..50 {
        let mut new = document(offset);
        new.provenance.offset = Offset(offset);
        let batch = Batch::over(&partition(0), epoch, offset..offset + 1);
        let batch = match offset {
            0 => batch.insert("a", &new),
            _ => batch.update("a", &new, Guard::SoleWriter),
        };
        batch.store(&store).await.expect("the owner may commit");

        let expected = [Some(new)];
        assert_eq!(load(&store, &["a"]).await, expected);
        assert_eq!(load(&reader, &["a"]).await, expected);
    }
}

pub(crate) async fn a_view_that_nobody_prepared_is_empty(site: Arc<Site>) {
    let store = site.host().await;
    assert_eq!(load(&store, &["a", "b"]).await, [None, None]);
    assert_eq!(scan(&store, None, 10).await, []);
    assert_eq!(scan(&store, Some("a"), 10).await, []);
}

pub(crate) async fn preparing_again_keeps_the_documents(site: Arc<Site>) {
    let (store, epoch) = owner(&site).await;
    let batch = Batch::over(&partition(0), epoch, 0..1).insert("a", &document(1));
    batch.store(&store).await.expect("the owner may commit");
    let before = State::of(&site).await;

    let views = [aircraft(), ViewId::new("aircraft", 2), aircraft()];
    for host in [store, site.host().await] {
        host.prepare(&views).await.expect("views can be prepared");
        assert_eq!(State::of(&site).await, before);
    }
}

pub(crate) async fn a_store_in_order_answers_a_ping(site: Arc<Site>) {
    let store = site.host().await;
    store.ping().await.expect("the store is in order");
    assert!(!store.address().is_empty());
}

pub(crate) async fn a_view_has_one_writer_and_refuses_others(site: Arc<Site>) {
    let (store, other) = (site.host().await, site.host().await);
    let views = [ViewId::new("owned", 1)];
    for host in [&store, &other] {
        let owned = host.own(&views, "accounts/v1/main").await;
        owned.expect("every host of the projection writes it");
    }
    for writer in ["accounts-2/v1/main", "accounts/v1/other"] {
        let refused = other.own(&views, writer).await.expect_err(writer);
        assert!(!refused.is_transient(), "{refused:?}");
        let text = refused.to_string();
        assert!(
            text.contains("accounts/v1/main") && text.contains(writer),
            "{text}"
        );
    }
    let next = ViewId::new("owned", 2);
    other
        .own(&[next], "accounts-2/v1/main")
        .await
        .expect("another version is another's");
}

pub(crate) async fn a_writer_keeps_the_views_that_it_began_with(site: Arc<Site>) {
    let (store, other) = (site.host().await, site.host().await);
    let [first, second, third] = ["kept-1", "kept-2", "kept-3"].map(|name| ViewId::new(name, 1));
    let writer = "keeper/v1/main";
    let own = [first.clone(), second.clone()];
    store.own(&own, writer).await.expect("it begins with two");
    for more in [vec![third.clone()], vec![first.clone(), third.clone()]] {
        let refused = other.own(&more, writer).await.expect_err("a new view");
        assert!(!refused.is_transient(), "{refused:?}");
        let text = refused.to_string();
        assert!(
            text.contains("kept-3") && text.contains("kept-1.v1, kept-2.v1"),
            "{text}"
        );
    }
    // What it leaves out it still owns, and a refused view is anybody's.
    other.own(&[first], writer).await.expect("one of its own");
    let taken = store.own(&[second], "other/v1/main").await;
    taken.expect_err("it belongs to the keeper");
    other
        .own(&[third], "other/v1/main")
        .await
        .expect("nobody has it");
}
