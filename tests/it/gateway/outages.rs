//! Stores that do not answer, or answer nonsense.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use projectionist::gateway::Setup;
use projectionist::store::Readable;
use projectionist::store::ViewId;
use projectionist::store::mongo::MongoStore;
use projectionist_tests::mongod::Mongod;
use projectionist_tests::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::site::{Site, limits};

/// What lies between a host and its MongoDB.
struct Wire {
    address: SocketAddr,
    mode: Arc<AtomicU8>,
    _tasks: JoinSet<()>,
}

const PASS: u8 = 0;
/// What is sent is taken, and nothing comes back.
const SILENT: u8 = 1;
/// Whatever is asked, the same bytes come back.
const GARBAGE: u8 = 2;

impl Wire {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let mode = Arc::new(AtomicU8::new(PASS));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&mode);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&server).await.expect("a server");
                connections.spawn(pass(near, far, Arc::clone(&shared)));
            }
        });
        Wire {
            address,
            mode,
            _tasks: tasks,
        }
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }
}

async fn pass(near: TcpStream, far: TcpStream, mode: Arc<AtomicU8>) {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let mut bytes = vec![0; 64 << 10];
    let mut answer = vec![0; 64 << 10];
    loop {
        let passed = tokio::select! {
            read = near_in.read(&mut bytes) => match (read, mode.load(Ordering::SeqCst)) {
                (Ok(0) | Err(_), _) => return,
                (Ok(count), PASS) => far_out.write_all(&bytes[..count]).await,
                (Ok(_), GARBAGE) => near_out.write_all(&[0x55; 64]).await,
                (Ok(_), _) => Ok(()),
            },
            read = far_in.read(&mut answer) => match (read, mode.load(Ordering::SeqCst)) {
                (Ok(0) | Err(_), _) => return,
                (Ok(count), PASS) => near_out.write_all(&answer[..count]).await,
                (Ok(_), _) => Ok(()),
            },
        };
        if passed.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_silent_or_mad_is_told_of_in_time_and_comes_back() {
    let mongod = Mongod::replica_set().await;
    let wire = Wire::to(mongod.host()).await;
    let uri = format!("mongodb://{}/?directConnection=true", wire.address);
    let store = MongoStore::connect(&uri, "views").await;
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

    for mode in [SILENT, GARBAGE] {
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
        wire.set(PASS);
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
