//! Stores that do not answer, or answer nonsense.

use std::sync::Arc;
use std::time::{Duration, Instant};

use projectionist::gateway::Setup;
use projectionist::store::Readable;
use projectionist::store::ViewId;
use projectionist::store::mongo::MongoStore;
use projectionist_tests::mongod::Mongod;
use projectionist_tests::wait;

use crate::site::{Site, limits};
use crate::wire::{Mode, Wire};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_silent_or_mad_is_told_of_in_time_and_comes_back() {
    let mongod = Mongod::replica_set().await;
    let wire = Wire::to(mongod.host()).await;
    let store = MongoStore::connect(&wire.uri(), "views").await;
    let store: Arc<dyn Readable> = Arc::new(store.expect("it passes everything on"));
    let views = ["aircraft", "airports"].map(|name| ViewId::new(name, 1));
    store.prepare(&views).await.expect("views can be prepared");
    let site = Site::over(
        store,
        limits(),
        Setup::default(),
        Duration::from_millis(500),
    )
    .await;
    site.writer(0).await.aircraft("N1", 1).await;
    let path = "/views/aircraft/N1";
    assert_eq!(site.get(path).await.status, 200);

    for mode in [Mode::Lost, Mode::Held, Mode::Garbage] {
        wire.set(mode);
        let began = Instant::now();
        for path in [path, "/views/aircraft/N1?after=flights:0@9"] {
            let answer = site.get(path).await;
            answer.assert_problem(503, "no store that holds it answers");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
        wire.set(Mode::Pass);
        wait::until("the store to be read again", async || {
            let answer = site.get(path).await;
            match answer.status {
                200 => Ok(()),
                _ => Err(answer),
            }
        })
        .await;
    }
}
