//! Three short runs of the ledger; `make ledger` has the long ones, and with `--brief` these.

use bson::{Bson, doc};
use mongodb::{Client, ClientSession};
use projectionist_tests::ledger::events::Hazards;
use projectionist_tests::ledger::{Options, Services, history, observe, run};
use projectionist_tests::{mongo, unique};

const CHECKPOINT: &str = "accounts/v1/main/transfers/0";

#[tokio::test(flavor = "multi_thread")]
async fn three_seeds_lose_duplicate_and_reorder_nothing() {
    let options = Options::brief(Hazards {
        duplicates: true,
        poison: true,
    });
    let mut services = Services::start().await;
    for seed in 1..=3 {
        let report = run(seed, &options, &mut services).await;
        let report = report.expect("the run comes to a result");
        println!("{report}");
        assert!(report.is_clean(), "{report}\n{:#?}", report.problems());
        assert!(report.faults.len() >= 4, "{report}");
    }
}

/// Writes as a host does, but for the fence: it does not look at the epoch.
struct Unfenced {
    session: ClientSession,
    database: mongodb::Database,
}

impl Unfenced {
    async fn start(client: &Client, database: &str) -> Self {
        Unfenced {
            session: client.start_session().await.expect("a session"),
            database: client.database(database),
        }
    }

    async fn claim(&self) {
        let id: &Bson = self.session.id().get("id").expect("it has an id");
        let claim = doc! {
            "$inc": { "epoch": 1_i64 },
            "$set": { "owner": "host", "sessions": [id.clone()] },
            "$setOnInsert": { "next": 0_i64 },
        };
        let checkpoints = self.database.collection::<bson::Document>("_checkpoints");
        let claimed = checkpoints.find_one_and_update(doc! { "_id": CHECKPOINT }, claim);
        claimed.upsert(true).await.expect("a claim");
    }

    /// Stores one document of the event at `offset`, and moves the checkpoint behind it.
    async fn store(&mut self, offset: i64) {
        let at = doc! { "topic": "transfers", "partition": 0, "offset": offset };
        let document = doc! { "_id": unique("a"), "_m": { "rev": 1_i64, "at": at, "plugin": "" } };
        let documents = self.database.collection("accounts.v1");
        let checkpoints = self.database.collection::<bson::Document>("_checkpoints");
        let session = &mut self.session;
        session.start_transaction().await.expect("a transaction");
        let inserted = documents.insert_one(document).session(&mut *session);
        inserted.await.expect("an insert");
        let next = doc! { "$set": { "next": offset + 1 } };
        let moved = checkpoints.update_one(doc! { "_id": CHECKPOINT }, next);
        moved.session(&mut *session).await.expect("a step");
        session.commit_transaction().await.expect("a commit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_that_commits_is_found_in_the_history_of_the_store() {
    let name = unique("zombie");
    let client = Client::with_uri_str(mongo::uri()).await.expect("MongoDB");
    let database = mongo::Database::named(&name).await.expect("a database");
    let start = database.now().await.expect("a time");
    let (mut first, mut second) = (
        Unfenced::start(&client, &name).await,
        Unfenced::start(&client, &name).await,
    );
    let verdict = async || {
        let changes = observe::read_history(&database, start, &["accounts"]).await;
        history::check(&changes.expect("a history"))
    };

    first.claim().await;
    first.store(0).await;
    second.claim().await;
    second.store(1).await;
    let right = verdict().await;
    assert_eq!((right.claims, right.transactions), (2, 2));
    assert_eq!(right.notes, Vec::<String>::new());

    first.store(2).await;
    let wrong = verdict().await;
    assert_eq!(wrong.zombie_commits, 1, "{:?}", wrong.notes);
    database.drop().await.expect("the database goes");
}
