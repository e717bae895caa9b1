//! One plugin many times in one database, each of its views under a name of its own.

use std::net::SocketAddr;

use bson::doc;
use projectionist_tests::guests;
use projectionist_tests::host::{Config, Finished, Host, command, free_address};
use projectionist_tests::kafka::{Record, Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use serde_json::json;

use crate::client::{Answer, Connection};

/// A configuration whose host reads topics into one database.
struct Setup<'a> {
    database: &'a str,
    gateway: SocketAddr,
    text: String,
}

impl<'a> Setup<'a> {
    fn new(database: &'a str) -> Self {
        Setup {
            database,
            gateway: free_address().expect("a port"),
            text: String::new(),
        }
    }

    /// A projection with `plugin`, and what else is said of it.
    fn and(mut self, name: &str, plugin: &str, topic: &str, more: &str) -> Self {
        let plugin = guests::path(plugin);
        self.text += &format!(
            "[projections.{name}]\nplugin = \"{}\"\ntopics = [\"{topic}\"]\nstore = \"main\"\n\
             group-id = \"{topic}-{name}\"\n{more}\n",
            plugin.display()
        );
        self
    }

    fn config(&self) -> Config {
        let text = format!(
            "[kafka]\nbrokers = \"{}\"\n[stores.main]\nkind = \"mongodb\"\nuri = \"{}\"\n\
             database = \"{}\"\n[gateway]\nlisten = \"{}\"\n{}",
            brokers(),
            uri(),
            self.database,
            self.gateway,
            self.text
        );
        Config::new(&format!("host-{}", self.gateway.port()), &text).expect("a configuration")
    }

    /// A host, and its configuration, which is to be kept for as long.
    async fn host(&self) -> (Host, Config) {
        let config = self.config();
        let host = Host::start(&config).expect("a host");
        host.wait_until_ready().await;
        (host, config)
    }

    /// What a host of this configuration is told, by `check` and by a start alike.
    fn refused(&self, words: &[&str]) {
        for arguments in [&["check"][..], &["run"]] {
            let Finished { code, stderr, .. } =
                command(arguments, &self.config()).expect("it ends");
            assert_eq!(code, Some(64), "{stderr}");
            for words in words {
                assert!(stderr.contains(words), "{words} in {stderr}");
            }
        }
    }

    fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers = bearer.iter().map(|bearer| ("authorization", &**bearer));
        Connection::open(self.gateway).get(path, &headers.collect::<Vec<_>>())
    }
}

/// Produces `{"from": TOPIC, "n": n}` of one key, and answers its position.
fn produce(topic: &Topic, n: i64) -> String {
    let value = json!({ "from": topic.name, "n": n }).to_string();
    let record = Record {
        key: Some("k"),
        value: Some(value.as_bytes()),
        id: "k",
    };
    let produced = topic.produce(std::iter::once(record));
    produced.expect("an event is produced");
    let end = topic.ends().expect("the partition has an end")[0];
    format!("{}:0@{}", topic.name, end - 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_mirrors_in_one_database_are_all_served_under_their_names() {
    let database = Database::new("names").await.expect("a database");
    let mut topics = Vec::new();
    for what in ["orders", "customers", "both"] {
        topics.push(Topic::create(what, 1).await.expect("a topic"));
    }
    let mut setup = Setup::new(&database.name)
        .and("orders", "mirror", &topics[0].name, "view = \"orders\"")
        .and(
            "customers",
            "mirror",
            &topics[1].name,
            "views = { mirror = \"customers_2\" }",
        )
        .and("plain", "mirror", &topics[2].name, "");
    setup.text += "[gateway.roles.sales]\nviews = [\"orders\", \"mirror\"]\n\
                   [gateway.tokens.sales]\ntoken = \"0123456789abcdef\"\nrole = \"sales\"\n\
                   [gateway.roles.all]\nviews = [\"*\"]\n\
                   [gateway.tokens.all]\ntoken = \"fedcba9876543210\"\nrole = \"all\"\n\
                   [views.orders]\nindexes = [\"n\"]\n";
    let (host, _config) = setup.host().await;
    let views = ["orders", "customers_2", "mirror"];
    for (topic, view) in topics.iter().zip(views) {
        let token = produce(topic, 7);
        let path = format!("/views/{view}/k?after={token}&wait=30s");
        let answer = setup.get(&path, Some("fedcba9876543210"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let document = json!({ "_id": "k", "from": topic.name, "n": 7 });
        assert_eq!(answer.json(), document, "{view}");
        let stored = database.documents(view).await.expect("a view");
        assert_eq!(
            stored["k"],
            json!({ "from": topic.name, "n": 7 }),
            "in the database as well"
        );
    }
    // Roles and indexes mean the names that are served.
    for (view, status) in [("orders", 200), ("mirror", 200), ("customers_2", 403)] {
        let answer = setup.get(&format!("/views/{view}/k"), Some("0123456789abcdef"));
        assert_eq!(answer.status, status, "{view}: {answer:?}");
    }
    let listed = setup.get("/views/orders?n=7", Some("0123456789abcdef"));
    assert_eq!(listed.status, 200, "{listed:?}");
    assert_eq!(listed.json()["documents"].as_array().map(Vec::len), Some(1));
    drop(host);
    database.drop().await.expect("it is the test's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_from_before_goes_on_and_no_view_is_renamed_under_its_documents() {
    let database = Database::new("names").await.expect("a database");
    let topic = Topic::create("old", 1).await.expect("a topic");
    let old = Setup::new(&database.name).and("old", "mirror", &topic.name, "");
    let (host, _config) = old.host().await;
    let token = produce(&topic, 1);
    let path = format!("/views/mirror/k?after={token}&wait=30s");
    assert_eq!(old.get(&path, None).status, 200);
    assert!(host.terminate().await.expect("it ends").success());
    // As hosts wrote it that knew of no names.
    let records = database.collection("_views");
    let unset = records.update_many(doc! {}, doc! { "$unset": { "beside": 1 } });
    unset.await.expect("records");
    let record = records.find_one(doc! {}).await.expect("an answer");
    let as_ever = doc! { "_id": "mirror.v1", "writer": "old/v1/main" };
    assert_eq!(record, Some(as_ever));

    let more = Topic::create("more", 1).await.expect("a topic");
    let beside = Setup::new(&database.name)
        .and("old", "mirror", &topic.name, "")
        .and("more", "mirror", &more.name, "view = \"more\"");
    let (host, _config) = beside.host().await;
    for (topic, view) in [(&topic, "mirror"), (&more, "more")] {
        let token = produce(topic, 2);
        let path = format!("/views/{view}/k?after={token}&wait=30s");
        assert_eq!(beside.get(&path, None).json()["n"], 2, "{view}");
    }
    let stored = database.collection("mirror.v1").find_one(doc! {}).await;
    let stored = stored.expect("an answer").expect("a document");
    let meta = stored.get_document("_m").expect("a provenance");
    let revision = meta.get_i64("rev").expect("a revision");
    assert_eq!(revision, 2, "the second version of the first document");
    assert!(host.terminate().await.expect("it ends").success());

    let renamed = Setup::new(&database.name)
        .and("old", "mirror", &topic.name, "view = \"orders\"")
        .config();
    let refused = command(&["run"], &renamed).expect("it ends");
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    for words in [
        "view \"orders\" (version 1) is new, and old/v1/main",
        "into mirror.v1 so far",
        "give the projection another name",
    ] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    database.drop().await.expect("it is the test's own");
}

#[test]
fn names_that_cannot_be_served_are_refused_with_both_places() {
    let twice = Setup::new("unused")
        .and("a", "mirror", "t", "view = \"orders\"")
        .and("b", "mirror", "t", "views = { mirror = \"orders\" }");
    twice.refused(&[
        ": projections.b.views: projection \"b\"",
        "writes view \"orders\" in store \"main\", which projection \"a\" writes too (",
        ": projections.a.view)",
    ]);
    let both_own = Setup::new("unused")
        .and("a", "mirror", "t", "")
        .and("b", "mirror", "t", "");
    both_own.refused(&[": projections.b.plugin: ", ": projections.a.plugin)"]);

    let mut two_stores = Setup::new("unused")
        .and("a", "mirror", "t", "")
        .and("b", "mirror", "t", "");
    two_stores.text += "[stores.other]\nkind = \"embedded\"\npath = \"o.db\"\n";
    let at = two_stores.text.rfind("store = \"main\"").expect("a store");
    two_stores
        .text
        .replace_range(at..at + 14, "store = \"other\"");
    two_stores.refused(&[
        ": projections.b.plugin: ",
        "the gateway would serve its view \"mirror\" in store \"other\"",
        "projection \"a\" in store \"main\"",
        ": projections.a.plugin)",
    ]);

    let unknown = Setup::new("unused").and("a", "mirror", "t", "views = { accounts = \"b\" }");
    unknown.refused(&[
        ": projections.a.views: ",
        "views gives a name to \"accounts\", which is no view of the plugin; it has mirror",
    ]);
    let several = Setup::new("unused").and("a", "tally", "t", "view = \"_id\"");
    several.refused(&[": projections.a.view: \"_id\" is no name of a view; "]);
}
