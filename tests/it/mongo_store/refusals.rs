//! What could never work is refused at once; what may come back is not.

use std::time::Duration;

use bson::raw::RawBson;
use bson::{Document, doc, rawdoc};
use projectionist::document;
use projectionist::store::mongo::MongoStore;
use projectionist::store::{Change, CommitError, Culprit, Error, Guard, Store, ViewId};

use projectionist_tests::host::free_address;
use projectionist_tests::mongod::Mongod;

use crate::scene::{Scene, causes};

/// Connects where that must fail, and gives the error.
async fn refused(uri: &str) -> Error {
    let connected = MongoStore::connect(uri, "views").await;
    connected.err().expect("nothing to connect to")
}

#[tokio::test]
async fn a_standalone_server_is_refused_with_the_way_out() {
    let server = Mongod::start(&[]).await;
    let expected = format!(
        "mongodb://{host}/views: this is a standalone server, and transactions need a replica \
         set; start mongod with --replSet and run rs.initiate()",
        host = server.host()
    );
    for query in ["", "?replicaSet=rs0", "?directConnection=true"] {
        let error = refused(&format!("mongodb://{}/{query}", server.host())).await;
        assert!(!error.is_transient(), "{query}: {error:?}");
        assert_eq!(error.to_string(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_replica_set_that_is_not_set_up_is_refused_with_the_way_out() {
    let server = Mongod::start(&["--replSet", "rs0"]).await;
    let error = refused(&server.uri()).await;
    assert!(!error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("run rs.initiate()"), "{error}");
}

#[tokio::test]
async fn another_replica_set_than_the_uri_names_is_refused() {
    let server = Mongod::replica_set().await;
    let error = refused(&format!("mongodb://{}/?replicaSet=rs7", server.host())).await;
    assert!(!error.is_transient(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("\"rs0\"") && text.contains("rs7"), "{text}");
}

#[tokio::test]
async fn wrong_credentials_are_refused_without_showing_them() {
    let server = Mongod::start(&["--auth"]).await;
    let error = refused(&format!("mongodb://reader:s3cret@{}/", server.host())).await;
    assert!(!error.is_transient(), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(
        text.contains("does not accept the user name and password"),
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable_in_good_time() {
    let address = free_address().expect("a port of the loopback is free");
    let uri = format!("mongodb://user:s3cret@{address}/");
    let error = tokio::time::timeout(Duration::from_secs(20), refused(&uri)).await;
    let error = error.expect("it gives up in time");
    assert!(error.is_transient(), "{error:?}");
    assert!(
        error.to_string().starts_with("mongodb://127.0.0.1:"),
        "{error}"
    );
    let text = format!("{error} {} {error:?}", causes(&error));
    assert!(text.contains("onnection refused"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

/// An index or a validator of a user's own.
enum Rule {
    Index(Document),
    Validator(Document),
}

async fn lay_down(scene: &Scene, rule: &Rule) {
    let command = match rule {
        Rule::Index(key) => {
            let index = doc! { "key": key.clone(), "name": "theirs" };
            doc! { "createIndexes": "aircraft.v1", "indexes": [index] }
        }
        Rule::Validator(validator) => {
            doc! { "collMod": "aircraft.v1", "validator": validator.clone() }
        }
    };
    let laid = scene.database.run_command(command).await;
    laid.expect("what is there breaks no rule");
}

#[tokio::test]
async fn what_mongodb_does_not_take_of_one_document_names_it_and_the_rule() {
    let point = rawdoc! { "type": "Point", "coordinates": [1, 200] };
    let cases = [
        (
            "two arrays in one index",
            Rule::Index(doc! { "a": 1, "b": 1 }),
            rawdoc! { "a": [1], "b": [1] },
            "\"theirs\"",
        ),
        (
            "no place on earth",
            Rule::Index(doc! { "at": "2dsphere" }),
            rawdoc! { "at": point },
            "aircraft.v1",
        ),
        (
            "a language that there is not",
            Rule::Index(doc! { "text": "text" }),
            rawdoc! { "text": "x", "language": "klingon" },
            "aircraft.v1",
        ),
        (
            "what a validator forbids",
            Rule::Validator(doc! { "bad": { "$exists": false } }),
            rawdoc! { "bad": 1 },
            "validator",
        ),
    ];
    let server = Mongod::replica_set().await;
    for (number, (name, rule, body, reason)) in cases.into_iter().enumerate() {
        let scene = Scene::new(&server, &format!("rules_{number}")).await;
        lay_down(&scene, &rule).await;
        let mut commit = scene.commit(1, Guard::SoleWriter);
        let Change::Insert(document) = &mut commit.writes[1].change else {
            panic!("the second write is an insertion");
        };
        document.body = body;
        let error = scene.store.commit(&commit).await.expect_err(name);
        let CommitError::Rejected(rejection) = error else {
            panic!("{name}: {error:?}");
        };
        let culprit = Culprit::Document {
            view: ViewId::new("aircraft", 1),
            id: "new 1".into(),
        };
        assert_eq!(rejection.culprit, Some(culprit), "{name}");
        assert!(rejection.message.contains(reason), "{name}: {rejection}");
        scene.assert_events(1, name).await;
    }
}

/// What the checks of a document let through is taken by MongoDB: the deepest, and names that
/// mean something elsewhere.
#[tokio::test]
async fn what_a_document_may_hold_is_stored() {
    let mut deep = rawdoc! { "end": 1 };
    for _ in 0..127 {
        deep = rawdoc! { "a": deep };
    }
    let odd = rawdoc! {
        "": 1, "a.b": { "x.y": [1] }, "ü": "\u{0}",
        "undefined": RawBson::Undefined, "min": RawBson::MinKey,
    };
    let server = Mongod::replica_set().await;
    for (number, body) in [deep, odd].into_iter().enumerate() {
        let checked = document::from_bson(body.as_bytes()).expect("it may hold this");
        let scene = Scene::new(&server, &format!("taken_{number}")).await;
        let mut commit = scene.commit(1, Guard::SoleWriter);
        for write in &mut commit.writes {
            match &mut write.change {
                Change::Insert(document) => document.body = checked.clone(),
                Change::Update { document, .. } => document.body = checked.clone(),
                Change::Delete { .. } => {}
            }
        }
        scene.store.commit(&commit).await.expect("it is taken");
    }
}

#[tokio::test]
async fn a_collection_under_a_views_name_is_left_alone_and_refused() {
    let server = Mongod::replica_set().await;
    let client = server.client().await;
    let database = client.database("views");
    let theirs = database.collection("aircraft");
    theirs
        .insert_one(doc! { "_id": 1 })
        .await
        .expect("writable");

    let store = MongoStore::connect(&server.uri(), "views").await;
    let store = store.expect("a replica set");
    let error = store.prepare(&[ViewId::new("aircraft", 1)]).await;
    let error = error.expect_err("the name is taken");
    assert!(!error.is_transient(), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("\"aircraft\" is a collection already"),
        "{text}"
    );
    assert!(text.contains("rename or drop"), "{text}");
    let kept = theirs.find_one(doc! {}).await.expect("readable");
    assert_eq!(kept, Some(doc! { "_id": 1 }));
}
