//! A thread that owns a connection and runs what others ask of it, one job after the other.
//!
//! Guarantee: what a writer has begun runs to its end even if the one who asked stops waiting, so a
//! transaction is never left half done by a dropped future. What a reader is asked for is
//! interrupted then, and not begun at all where it still waits: no query goes on for nobody.
//! Bounds: at most [`QUEUED_JOBS_MAX`] jobs wait, then those who ask do. A job's bytes are those
//! of one batch or one list of ids, which the pipeline bounds.
//! On drop: the thread finishes what is queued, closes its connection and ends by itself.

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::error;
use crate::store::Error;

const QUEUED_JOBS_MAX: usize = 16;

/// Between two looks whether somebody still waits for a query, in instructions of SQLite's machine:
/// some microseconds, and far more than the `ROLLBACK` of a job that was interrupted takes.
const INSTRUCTIONS_UNWATCHED: c_int = 1000;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// What a connection is for, and so what becomes of a job that nobody waits for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
}

/// A handle to the thread.
pub(super) struct Worker {
    address: Arc<str>,
    jobs: mpsc::Sender<Job>,
    role: Role,
    /// Jobs that were asked for and have not ended.
    load: Arc<AtomicUsize>,
}

/// Threads that all do the same.
pub(super) struct Workers(Vec<Worker>);

/// Somebody who waits for a job: there as long as their future is.
struct Asker;

/// Counts a job as long as it is not done.
struct Load(Arc<AtomicUsize>);

impl Worker {
    /// Starts the thread. It ends when the handle is dropped, and closes its connection once all
    /// of `earlier` have ended.
    pub(super) fn start(
        name: &str,
        role: Role,
        address: Arc<str>,
        mut connection: Connection,
        earlier: Vec<JoinHandle<()>>,
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUED_JOBS_MAX);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
                for earlier in earlier {
                    // Its panic, if any, has been told to those who waited for its jobs.
                    earlier.join().ok();
                }
            })
            .map_err(|e| Error::Unavailable {
                address: address.to_string(),
                source: e.into(),
            })?;
        let worker = Worker {
            address,
            jobs,
            role,
            load: Arc::default(),
        };
        Ok((worker, thread))
    }

    /// Runs a job on the connection and waits for its result.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let load = Load::new(&self.load);
        let (reply, answer) = oneshot::channel();
        let asker = Arc::new(Asker);
        let (waiting, role) = (Arc::downgrade(&asker), self.role);
        let job: Job = Box::new(move |connection| {
            let result = match role {
                Role::Writer => job(connection),
                Role::Reader if waiting.strong_count() == 0 => return,
                Role::Reader => run_for(waiting, connection, job),
            };
            // Before the answer: who asks next would take this thread for one that has still to do.
            drop(load);
            // Fails where nobody waits any more, which is theirs to decide.
            reply.send(result).ok();
        });
        // Both fail only after a job has panicked, and the thread with it.
        let ended = || error::worker_ended(&self.address);
        self.jobs.send(job).await.map_err(|_| ended())?;
        let answer = answer.await.map_err(|_| ended());
        drop(asker);
        answer
    }
}

impl Workers {
    pub(super) fn new(workers: Vec<Worker>) -> Self {
        assert!(!workers.is_empty(), "somebody does the work");
        Workers(workers)
    }

    /// Runs a job on the connection of the one that has least to do.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let idlest = self
            .0
            .iter()
            .min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        idlest.expect("there is one at least").run(job).await
    }
}

/// Runs a reader's job. Each of its queries ends soon once nobody waits for it, also those that
/// begin only then: SQLite asks by itself, where an interrupt from outside would be lost between
/// two queries.
fn run_for<T>(
    waiting: Weak<Asker>,
    connection: &mut Connection,
    job: impl FnOnce(&mut Connection) -> T,
) -> T {
    let is_for_nobody = move || waiting.strong_count() == 0;
    connection
        .progress_handler(INSTRUCTIONS_UNWATCHED, Some(is_for_nobody))
        .expect("SQLite has memory for it");
    let result = job(connection);
    connection
        .progress_handler(0, None::<fn() -> bool>)
        .expect("it needs no memory");
    result
}

impl Load {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Load(Arc::clone(count))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A query without an end.
    fn for_ever(connection: &mut Connection) -> rusqlite::Result<i64> {
        let sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) \
                   SELECT count(*) FROM c";
        connection.query_row(sql, [], |row| row.get(0))
    }

    fn reader() -> Worker {
        let connection = Connection::open_in_memory().expect("memory");
        let started = Worker::start("test", Role::Reader, "test".into(), connection, Vec::new());
        started.expect("a thread").0
    }

    #[tokio::test]
    async fn a_query_that_nobody_waits_for_is_interrupted() {
        let worker = reader();
        for _ in 0..3 {
            let (began, begun) = oneshot::channel();
            let query = worker.run(move |connection| {
                began.send(()).expect("the test waits");
                for_ever(connection)
            });
            tokio::select! {
                ended = query => panic!("{ended:?}"),
                begun = begun => begun.expect("it runs"),
            }
            // What is asked next is not interrupted.
            let next = worker.run(|connection| connection.query_row("SELECT 1", [], |r| r.get(0)));
            let next = tokio::time::timeout(Duration::from_secs(30), next).await;
            let one: i64 = next.expect("it ends").expect("it runs").expect("a number");
            assert_eq!(one, 1);
        }
    }

    #[tokio::test]
    async fn a_query_that_begins_when_nobody_waits_any_more_is_interrupted_too() {
        let worker = reader();
        let (began, begun) = oneshot::channel();
        let (leave, left) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let query = worker.run(move |connection| {
            began.send(()).expect("the test waits");
            left.blocking_recv().expect("the test goes on");
            tell.send(for_ever(connection)).expect("the test waits");
        });
        tokio::select! {
            ended = query => panic!("{ended:?}"),
            begun = begun => begun.expect("it runs"),
        }
        leave.send(()).expect("it waits");
        let ended = tokio::time::timeout(Duration::from_secs(30), told).await;
        let ended = ended.expect("it ends").expect("it tells");
        let code = ended.expect_err("it has no end").sqlite_error_code();
        assert_eq!(code, Some(rusqlite::ErrorCode::OperationInterrupted));
    }

    #[tokio::test]
    async fn a_long_query_does_not_hold_up_other_readers() {
        let workers = Workers::new(vec![reader(), reader()]);
        let long = workers.run(for_ever);
        tokio::pin!(long);
        for _ in 0..10 {
            tokio::select! {
                ended = &mut long => panic!("{ended:?}"),
                other = workers.run(|_| ()) => other.expect("it runs"),
            }
        }
    }
}
