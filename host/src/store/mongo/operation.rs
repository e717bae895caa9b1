//! The only way to ask MongoDB for anything: each operation runs in a task of its own, to its end.
//!
//! Why: the driver's pool hands out one connection for each event that it sees, and a caller who
//! has gone counts as one who waits (`cmap/worker.rs` of mongodb 3.9.1). So each future of the
//! driver that is dropped while it waits for a connection costs all others a turn, and some
//! hundred of them stop a client for minutes.
//!
//! Guarantees:
//! - Whoever waits for an operation may go at any time. The operation goes on, and keeps its place
//!   in the pool until it has ended.
//! - No more operations are under way than the client's pool has connections; others wait here,
//!   where waiting costs nothing and may be given up.
//! - Where a pool has more places than turns, operations that nobody waits for do not hold up those
//!   that somebody does: a server that was silent leaves many of them behind.
//! - A caller waits for so long at most, for its turn and for the answer together.
//!
//! Who uses a store for another purpose has a client of its own ([`Operations`]), so none waits
//! for another one's operations.
//!
//! On failure: an operation on a connection that is dead without a word would keep its place until
//! TCP gives up, in a quarter of an hour. It is dropped [`LINGER`] after its caller has gone, when
//! it has long had its connection: that one is closed, and nothing is left in the pool's queue.
//! Where a new connection's handshake is what was lost, the driver keeps that until TCP gives up,
//! and opens others meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mongodb::error::{ErrorKind, Result as Answer};
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::REQUEST_TIMEOUT;
use super::error::Failure;

/// How long an operation may go on when its caller has gone. The driver looks after its servers
/// every ten seconds, and ends what one that is silent has not answered.
const LINGER: Duration = Duration::from_secs(30);

/// How many operations a client has at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Width {
    /// Those that somebody waits for.
    pub(super) turns: u32,
    /// All: the connections of the pool.
    pub(super) places: u32,
}

/// At the end: for what is under way, and then for the driver to end its sessions.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A client of the driver, and what it has under way.
pub(super) struct Operations {
    /// Not handed out but to operations.
    database: Database,
    turns: Semaphore,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    answered: Arc<Answered>,
}

/// When the server has last answered, whoever was still there to hear it.
struct Answered {
    start: Instant,
    /// Milliseconds since the start, and one; 0 before the first answer.
    at_ms: AtomicU64,
}

impl Operations {
    /// Makes a client, which connects when it is first used.
    pub(super) fn new(mut options: ClientOptions, database: &str, width: Width) -> Answer<Self> {
        let Width { turns, places } = width;
        options.max_pool_size = Some(places);
        // The driver never gives up a handshake, and opens no other connection while it waits for
        // so many: a few that a silent server has lost would stop the client for good.
        options.max_connecting.get_or_insert(places);
        let client = Client::with_options(options)?;
        Ok(Operations {
            database: client.database(database),
            turns: Semaphore::new(turns as usize),
            places: Arc::new(Semaphore::new(places as usize)),
            tasks: TaskTracker::new(),
            answered: Arc::new(Answered {
                start: Instant::now(),
                at_ms: AtomicU64::new(0),
            }),
        })
    }

    pub(super) fn database_name(&self) -> &str {
        self.database.name()
    }

    /// Asks the server, and waits for its answer, `patience` at most.
    pub(super) async fn ask<T, F>(
        &self,
        patience: Duration,
        operation: impl FnOnce(Database) -> F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let answered = Arc::clone(&self.answered);
        let asked = self.run(patience, move |database| {
            let operation = operation(database);
            async move {
                let answer = operation.await;
                answered.note(&answer);
                answer
            }
        });
        Ok(asked.await??)
    }

    /// Runs an operation that hands back more than an answer.
    pub(super) async fn run<T, F>(
        &self,
        patience: Duration,
        operation: impl FnOnce(Database) -> F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let closed = |_| Failure::Reply("the store is being closed");
        let run = async {
            let _turn = self.turns.acquire().await.map_err(closed)?;
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(closed)?;
            let operation = operation(self.database.clone());
            let (mut reply, answer) = oneshot::channel();
            self.tasks.spawn(async move {
                let given_up = async {
                    reply.closed().await;
                    tokio::time::sleep(LINGER).await;
                };
                let answer = tokio::select! {
                    // Nobody waits for what is dropped here, nor does the pool (see above).
                    answer = operation => answer,
                    () = given_up => {
                        debug!("a connection is given up on which nothing has come for long");
                        return;
                    }
                };
                drop(place);
                // Fails where nobody waits any more, which is theirs to decide.
                reply.send(answer).ok();
            });
            let ended = |_| Failure::Reply("the operation has ended without an answer");
            answer.await.map_err(ended)
        };
        match tokio::time::timeout(patience, run).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::NoAnswer(patience)),
        }
    }

    /// When the server has last answered, also to those who had gone.
    pub(super) fn answered(&self) -> Option<Instant> {
        self.answered.last()
    }

    /// Waits for what is under way, but not for long, and ends what is held open at the server.
    pub(super) async fn close(&self) {
        self.turns.close();
        self.places.close();
        self.tasks.close();
        if tokio::time::timeout(END_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            debug!("the store does not answer, so what is under way is left to it");
        }
        let client = self.database.client().clone();
        let end = async move { client.shutdown().immediate(true).await };
        if within(END_TIMEOUT, end).await.is_none() {
            debug!("the store does not answer, so its sessions end by themselves");
        }
    }
}

impl Answered {
    fn note<T>(&self, answer: &Answer<T>) {
        let is_answer = match answer {
            Ok(_) => true,
            Err(error) => matches!(*error.kind, ErrorKind::Command(_)),
        };
        if is_answer {
            let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
            self.at_ms.fetch_max(ms + 1, Ordering::AcqRel);
        }
    }

    fn last(&self) -> Option<Instant> {
        let ms = self.at_ms.load(Ordering::Acquire).checked_sub(1)?;
        self.start.checked_add(Duration::from_millis(ms))
    }
}

/// Reads a URI; one of `mongodb+srv` is looked up.
pub(super) async fn parse(uri: &str) -> Result<ClientOptions, Failure> {
    let uri = uri.to_owned();
    let parse = async move { ClientOptions::parse(uri).await };
    match within(REQUEST_TIMEOUT, parse).await {
        Some(options) => Ok(options?),
        None => Err(Failure::NoAnswer(REQUEST_TIMEOUT)),
    }
}

/// Runs what needs no connection of a pool, such as a look-up of names, to its end. `None` where it
/// is not waited for any longer.
async fn within<T: Send + 'static>(
    patience: Duration,
    task: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let task = tokio::spawn(task);
    let ended = tokio::time::timeout(patience, task).await;
    ended.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// What asks the driver, or may drop what was asked of it.
    const FORBIDDEN: [&str; 5] = [
        "Client::with_",
        "time::timeout",
        "select!",
        "tokio::spawn",
        "now_or_never",
    ];

    #[test]
    fn the_driver_is_asked_here_and_nowhere_else() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/mongo");
        let files = std::fs::read_dir(folder).expect("the sources are there");
        let mut looked_at = 0;
        for file in files {
            let path = file.expect("it can be listed").path();
            if path.is_dir() || path.ends_with("operation.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("it can be read");
            looked_at += 1;
            // A plain connection is nothing of the driver's.
            for line in text.lines().filter(|line| !line.contains("TcpStream")) {
                for word in FORBIDDEN {
                    assert!(!line.contains(word), "{word} in {}", path.display());
                }
            }
        }
        assert!(looked_at > 10, "{looked_at}");
    }
}
