//! One place where a store lives, for one test.

use std::future::Future;
use std::panic;
use std::sync::Arc;

use bson::doc;
use projectionist::store::embedded::EmbeddedStore;
use projectionist::store::mongo::MongoStore;
use projectionist::store::{Readable, Store};
use tempfile::TempDir;

const MONGODB: &str = "PROJECTIONIST_TEST_MONGODB";

pub(crate) enum Site {
    Embedded { folder: TempDir },
    Mongo { uri: String, database: String },
}

impl Site {
    pub(crate) fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("the test needs a temporary folder");
        Site::Embedded { folder }
    }

    pub(crate) fn mongo() -> Self {
        let uri = std::env::var(MONGODB).unwrap_or_else(|_| {
            panic!("{MONGODB} is not set; run `make test`, or set it to a replica set's URI")
        });
        let database = format!("conformance_{:016x}", rand::random::<u64>());
        Site::Mongo { uri, database }
    }

    /// Opens the store as one more host.
    pub(crate) async fn host(&self) -> Arc<dyn Store> {
        self.readable().await
    }

    /// The same, for those who read views, too.
    pub(crate) async fn readable(&self) -> Arc<dyn Readable> {
        match self {
            Site::Embedded { folder } => {
                let path = folder.path().join("views.db");
                let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path)).await;
                let store = store.expect("opening does not panic");
                Arc::new(store.expect("a file in an empty folder can be opened"))
            }
            Site::Mongo { uri, database } => {
                let store = MongoStore::connect(uri, database).await;
                Arc::new(store.expect("MongoDB must be reachable, and a replica set"))
            }
        }
    }

    /// Makes a unique index of a user's own over a field of a view's or a reserved table's
    /// documents.
    pub(crate) async fn forbid_twice(&self, collection: &str, field: &str) {
        match self {
            Site::Embedded { folder } => {
                let path = folder.path().join("views.db");
                let sql = format!(
                    "CREATE UNIQUE INDEX once ON \"{collection}\" (json_extract(json, '$.{field}'))"
                );
                let made = tokio::task::spawn_blocking(move || {
                    rusqlite::Connection::open(path)?.execute_batch(&sql)
                });
                let made = made.await.expect("it does not panic");
                made.expect("a file that is in order takes an index");
            }
            Site::Mongo { uri, database } => {
                let client = mongodb::Client::with_uri_str(uri).await;
                let database = client.expect("it is reachable").database(database);
                let index = doc! { "key": { field: 1 }, "name": "once", "unique": true };
                let create = doc! { "createIndexes": collection, "indexes": [index] };
                let made = database.run_command(create).await;
                made.expect("a collection in order takes an index");
            }
        }
    }

    async fn clean_up(&self) {
        match self {
            // The folder goes with its handle.
            Site::Embedded { .. } => {}
            Site::Mongo { uri, database } => {
                let client = mongodb::Client::with_uri_str(uri).await;
                let client = client.expect("it was reachable before");
                let dropped = client.database(database).drop().await;
                dropped.expect("a test may drop its own database");
            }
        }
    }
}

/// Runs a test and cleans up after it, also where it panics.
pub(crate) fn run<F>(site: Site, test: impl FnOnce(Arc<Site>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the test needs a runtime");
    let site = Arc::new(site);
    let test = test(Arc::clone(&site));
    runtime.block_on(async {
        let outcome = tokio::spawn(test).await;
        site.clean_up().await;
        if let Err(failed) = outcome {
            panic::resume_unwind(failed.into_panic());
        }
    });
}
