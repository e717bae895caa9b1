//! Views that several stores hold: which of them is read, and what becomes of a read that one of
//! them does not answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bson::raw::RawDocumentBuf;
use projectionist::gateway::copies::{Copies, Copy, Opened, Picker};
use projectionist::gateway::positions::Positions;
use projectionist::gateway::{Gateway, Setup, View};
use projectionist::policy::{Fault, Request, RoutingPolicy, Source, Target, TargetId};
use projectionist::projection::Ownership;
use projectionist::record::{NextOffset, TopicPartition};
use projectionist::store::embedded::EmbeddedStore;
use projectionist::store::list::{Index, List, Page};
use projectionist::store::{CheckpointId, Error, Readable, Reader, ViewId};
use projectionist::telemetry::health::Health;
use projectionist_tests::wait;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::Answer;
use crate::site::{Writer, get, limits};

const NAMES: [&str; 3] = ["main", "east", "west"];

const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A copy may lag so far.
const STALE_AFTER: Duration = Duration::from_millis(700);

/// How a copy answers.
#[derive(Clone, Default)]
struct Mood {
    mode: Arc<AtomicU8>,
    /// Documents that it was asked for.
    asked: Arc<AtomicUsize>,
}

const WELL: u8 = 0;
const AWAY: u8 = 1;
const SILENT: u8 = 2;
/// It lets nobody in.
const DENYING: u8 = 4;
/// It takes no request for what it is.
const REFUSING: u8 = 5;
/// Longer than a read by id is waited for where there are others.
const SLOW: u8 = 3;

impl Mood {
    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn show(&self) -> Result<(), Error> {
        match self.mode.load(Ordering::SeqCst) {
            WELL => Ok(()),
            AWAY => Err(Error::Unavailable {
                address: "a copy".to_owned(),
                source: "it is away".into(),
            }),
            DENYING => Err(Error::Denied {
                address: "a copy".to_owned(),
                message: "not authorised".to_owned(),
            }),
            REFUSING => Err(Error::Refused {
                address: "a copy".to_owned(),
                message: "a wrong argument".to_owned(),
            }),
            SLOW => {
                tokio::time::sleep(Duration::from_millis(700)).await;
                Ok(())
            }
            _ => std::future::pending().await,
        }
    }
}

/// A store in a mood.
struct Moody {
    store: Arc<dyn Readable>,
    mood: Mood,
}

#[async_trait]
impl Reader for Moody {
    fn address(&self) -> &str {
        Reader::address(&*self.store)
    }

    async fn document(&self, view: &ViewId, id: &str) -> Result<Option<RawDocumentBuf>, Error> {
        self.mood.asked.fetch_add(1, Ordering::SeqCst);
        self.mood.show().await?;
        self.store.document(view, id).await
    }

    async fn list(&self, view: &ViewId, list: &List) -> Result<Page, Error> {
        self.mood.show().await?;
        self.store.list(view, list).await
    }

    async fn prepare_indexes(&self, view: &ViewId, indexes: &[Index]) -> Result<(), Error> {
        self.store.prepare_indexes(view, indexes).await
    }

    async fn positions(&self, writer: &str) -> Result<Vec<(TopicPartition, NextOffset)>, Error> {
        self.mood.show().await?;
        self.store.positions(writer).await
    }
}

/// A gateway in front of copies with the view `aircraft`.
struct Site {
    address: SocketAddr,
    stores: Vec<Arc<dyn Readable>>,
    moods: Vec<Mood>,
    copies: Vec<Arc<Copy>>,
    tasks: JoinSet<()>,
    _folder: TempDir,
}

/// Picks the first of these that it may, and otherwise what it is not offered.
struct Prefers(&'static str);

impl Source<dyn RoutingPolicy> for Prefers {
    fn name(&self) -> &str {
        "prefers"
    }

    fn start(&self) -> Result<Box<dyn RoutingPolicy>, Fault> {
        Ok(Box::new(Prefers(self.0)))
    }
}

impl RoutingPolicy for Prefers {
    fn pick(&mut self, _: &Request<'_>, eligible: &[Target]) -> Result<TargetId, Fault> {
        let wanted = eligible.iter().find(|target| &*target.name == self.0);
        Ok(wanted.map_or(TargetId(99), |target| target.id))
    }

    fn observe(&mut self, _: TargetId, _: u32, _: bool) -> Result<(), Fault> {
        Ok(())
    }
}

impl Site {
    async fn new(names: &[&str], policy: Option<Prefers>) -> Self {
        let folder = tempfile::tempdir().expect("the test needs a temporary folder");
        let view = ViewId::new("aircraft", 1);
        let mut stores: Vec<Arc<dyn Readable>> = Vec::new();
        for name in names {
            let path = folder.path().join(format!("{name}.db"));
            let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path)).await;
            let store = store.expect("opening does not panic");
            let store = store.expect("a file in an empty folder");
            let prepared =
                projectionist::store::Store::prepare(&store, std::slice::from_ref(&view)).await;
            prepared.expect("views can be prepared");
            stores.push(Arc::new(store));
        }
        let label: Arc<str> = "flights".into();
        let copies = names.iter().map(|name| {
            let label = match *name {
                "main" => Arc::clone(&label),
                further => format!("flights@{further}").into(),
            };
            Arc::new(Copy::new(name, &label, READ_TIMEOUT))
        });
        let copies: Vec<Arc<Copy>> = copies.collect();
        let policy = policy.map(|policy| Arc::new(policy) as Arc<dyn Source<dyn RoutingPolicy>>);
        let picker = Picker::new("main", names.iter().map(|name| (*name, 1)), policy);
        let together = Copies::new(copies.clone(), picker);
        let view = View {
            id: view,
            projection: label,
            topics: vec!["flights".into()],
            ownership: Ownership::ByKey,
            indexes: Vec::new(),
            copies: together.clone(),
        };
        let gateway = Gateway::bind(([127, 0, 0, 1], 0).into(), limits()).await;
        let gateway = gateway.expect("a port is free");
        let mut site = Site {
            address: gateway.address(),
            moods: names.iter().map(|_| Mood::default()).collect(),
            stores,
            copies,
            tasks: JoinSet::new(),
            _folder: folder,
        };
        let served = gateway.serve(vec![view], Setup::default(), CancellationToken::new());
        site.tasks.spawn(served);
        site.tasks
            .spawn(async move { together.compare(STALE_AFTER).await });
        site
    }

    /// Lets the gateway read a copy.
    fn open(&mut self, index: usize) {
        let (store, mood) = (Arc::clone(&self.stores[index]), self.moods[index].clone());
        let reader: Arc<dyn Reader> = Arc::new(Moody {
            store: Arc::clone(&store),
            mood,
        });
        let writer = CheckpointId::writer("flights", 1, NAMES[index]);
        let positions = Positions::new(Arc::clone(&reader), writer, READ_TIMEOUT);
        let positions = Arc::new(positions);
        self.copies[index].open(Opened {
            store: store as _,
            reader,
            positions: Arc::clone(&positions),
        });
        let own = (Health::default(), "flights".into());
        self.tasks.spawn(async move { positions.follow(own).await });
    }

    async fn opened(names: &[&str], policy: Option<Prefers>) -> Self {
        let mut site = Site::new(names, policy).await;
        for index in 0..names.len() {
            site.open(index);
        }
        site
    }

    async fn writers(&self) -> Vec<Writer> {
        let mut writers = Vec::new();
        for (store, name) in self.stores.iter().zip(NAMES) {
            writers.push(Writer::claim(store, name, 0).await);
        }
        writers
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.address, path, &[]).await
    }

    async fn legs(&self) -> i64 {
        let answer = self.get("/views/aircraft/N1").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["legs"].as_i64().expect("a number")
    }

    fn asked(&self) -> Vec<usize> {
        self.moods.iter().map(Mood::asked).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_take_turns_or_are_picked_by_a_policy() {
    for (policy, share) in [(None, [10, 10, 10]), (Some(Prefers("east")), [0, 30, 0])] {
        let site = Site::opened(&NAMES, policy).await;
        for writer in &mut site.writers().await {
            writer.aircraft("N1", 1).await;
        }
        for _ in 0..30 {
            assert_eq!(site.legs().await, 1);
        }
        assert_eq!(site.asked(), share);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_a_copy_fails_is_answered_by_another() {
    let site = Site::opened(&NAMES, Some(Prefers("east"))).await;
    for writer in &mut site.writers().await {
        writer.aircraft("N1", 1).await;
    }
    for mode in [AWAY, SILENT] {
        site.moods[1].set(mode);
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(site.legs().await, 1);
        }
        // After a few it is not asked any more.
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
    }
    assert!(site.moods[1].asked() < 10, "{:?}", site.asked());
    // Not even the policy's copy and another one together fail a read.
    site.moods[2].set(AWAY);
    assert_eq!(site.legs().await, 1);
    site.moods[0].set(AWAY);
    let answer = site.get("/views/aircraft/N1").await;
    answer.assert_problem(503, "no store that holds it answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_refuses_reads_is_left_alone_and_nobody_notices() {
    for mode in [DENYING, REFUSING] {
        let site = Site::opened(&NAMES, Some(Prefers("east"))).await;
        for writer in &mut site.writers().await {
            writer.aircraft("N1", 1).await;
        }
        site.moods[1].set(mode);
        for _ in 0..30 {
            assert_eq!(site.legs().await, 1);
        }
        assert!(site.moods[1].asked() < 15, "{mode}: {:?}", site.asked());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_every_copy_refuses_counts_against_none() {
    let site = Site::opened(&NAMES, None).await;
    for writer in &mut site.writers().await {
        writer.aircraft("N1", 1).await;
    }
    for mood in &site.moods {
        mood.set(REFUSING);
    }
    for _ in 0..20 {
        let answer = site.get("/views/aircraft/N1").await;
        answer.assert_problem(502, "refuses to read it");
    }
    for mood in &site.moods {
        mood.set(WELL);
    }
    // All are asked at once.
    let before = site.asked();
    for _ in 0..9 {
        assert_eq!(site.legs().await, 1);
    }
    let after = site.asked();
    let asked: Vec<usize> = before.iter().zip(&after).map(|(b, a)| a - b).collect();
    assert!(asked.iter().all(|asked| *asked > 0), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_copy_is_waited_for_where_no_other_is_quicker() {
    let site = Site::opened(&NAMES[..2], Some(Prefers("main"))).await;
    for writer in &mut site.writers().await {
        writer.aircraft("N1", 1).await;
    }
    site.moods[0].set(SLOW);
    site.moods[1].set(AWAY);
    for _ in 0..8 {
        assert_eq!(site.legs().await, 1);
    }
    site.moods[1].set(SLOW);
    for _ in 0..8 {
        assert_eq!(site.legs().await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_in_one_copy_is_no_version_in_another() {
    let site = Site::opened(&NAMES[..2], Some(Prefers("east"))).await;
    for writer in &mut site.writers().await {
        writer.aircraft("N1", 1).await;
    }
    let path = "/views/aircraft/N1";
    let answer = site.get(path).await;
    let etag = answer.header("etag").expect("a version").to_owned();
    let known = [("if-none-match", etag.as_str())];
    assert_eq!(get(site.address, path, &known).await.status, 304);
    site.moods[1].set(AWAY);
    let other = get(site.address, path, &known).await;
    assert_eq!(other.status, 200, "{other:?}");
    assert_ne!(other.header("etag"), Some(&*etag));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_sought_in_all_copies() {
    let site = Site::opened(&NAMES, Some(Prefers("west"))).await;
    let mut writers = site.writers().await;
    for writer in &mut writers {
        writer.aircraft("N1", 1).await;
    }
    // Known in one place only, and not yet noticed there.
    let offset = writers[1].aircraft("N1", 2).await;
    let path = format!("/views/aircraft/N1?after=flights:0@{offset}");
    let answer = site.get(&path).await;
    assert_eq!(
        (answer.status, &answer.json()["legs"]),
        (200, &2.into()),
        "{answer:?}"
    );
    assert_eq!(answer.header("projectionist-freshness"), Some("fresh"));
    // A copy that is away keeps nobody from being told how far the others are.
    site.moods[0].set(SILENT);
    let path = format!(
        "/views/aircraft/N1?after=flights:0@{}&wait=10ms",
        offset + 5
    );
    site.get(&path)
        .await
        .assert_problem(504, "still lacked 5 offsets");
    // Whoever waits is answered by the first one that is there.
    let (address, path) = (
        site.address,
        format!("/views/aircraft/N1?after=flights:0@{}&wait=1m", offset + 1),
    );
    let waiting = tokio::spawn(async move { get(address, &path, &[]).await });
    writers[2].aircraft("N1", 2).await;
    writers[2].aircraft("N1", 3).await;
    let answer = waiting.await.expect("an answer");
    assert_eq!(
        (answer.status, &answer.json()["legs"]),
        (200, &3.into()),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_lags_is_read_when_it_has_caught_up_or_nothing_else_is_left() {
    let site = Site::opened(&NAMES[..2], Some(Prefers("east"))).await;
    let mut writers = site.writers().await;
    for writer in &mut writers {
        writer.aircraft("N1", 1).await;
    }
    assert_eq!(site.legs().await, 1);
    writers[0].aircraft("N1", 2).await;
    let until_legs = async |legs: i64| {
        wait::until("the other copy to be read", async || {
            match site.legs().await {
                found if found == legs => Ok(()),
                found => Err(found),
            }
        })
        .await;
    };
    until_legs(2).await;
    let before = site.moods[1].asked();
    for _ in 0..20 {
        assert_eq!(site.legs().await, 2);
    }
    assert_eq!(site.moods[1].asked(), before, "it lags");
    // An old answer is better than none.
    site.moods[0].set(AWAY);
    assert_eq!(site.legs().await, 1);
    site.moods[0].set(WELL);
    writers[1].aircraft("N1", 3).await;
    until_legs(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_comes_later_is_read_from_then_on() {
    let mut site = Site::new(&NAMES[..2], Some(Prefers("east"))).await;
    let answer = site.get("/views/aircraft/N1").await;
    answer.assert_problem(503, "no store that holds it answers");
    for (index, writer) in site.writers().await.iter_mut().enumerate() {
        let legs = i64::try_from(index).expect("few") + 1;
        writer.aircraft("N1", legs).await;
    }
    site.open(0);
    assert_eq!(site.legs().await, 1);
    site.open(1);
    wait::until("the policy's copy to be read", async || {
        match site.legs().await {
            2 => Ok(()),
            found => Err(found),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_copy_is_left_alone_while_it_fails_and_tried_again() {
    let site = Site::opened(&NAMES[..1], None).await;
    site.writers().await[0].aircraft("N1", 1).await;
    site.moods[0].set(AWAY);
    for _ in 0..5 {
        let answer = site.get("/views/aircraft/N1").await;
        answer.assert_problem(503, "no store that holds it answers");
    }
    let asked = site.moods[0].asked();
    // What would take until a time-out is told at once.
    site.moods[0].set(SILENT);
    let began = Instant::now();
    let answer = site.get("/views/aircraft/N1").await;
    answer.assert_problem(503, "no store that holds it answers");
    assert!(
        began.elapsed() < Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(site.moods[0].asked(), asked);
    site.moods[0].set(WELL);
    wait::until("it to be read again", async || {
        let answer = site.get("/views/aircraft/N1").await;
        match answer.status {
            200 => Ok(()),
            _ => Err(answer),
        }
    })
    .await;
    assert_eq!(site.legs().await, 1);
}
