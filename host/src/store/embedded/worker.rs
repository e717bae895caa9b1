//! A thread that owns a connection and runs what others ask of it, one job after the other.
//!
//! Guarantee: what a writer has begun runs to its end even if the one who asked stops waiting, so a
//! transaction is never left half done by a dropped future. What a reader is asked for is
//! interrupted then, and not begun at all where it still waits: no query goes on for nobody.
//! Bounds: at most [`QUEUED_JOBS_MAX`] jobs wait, then those who ask do. A job's bytes are those
//! of one batch or one list of ids, which the pipeline bounds.
//! On drop: the thread finishes what is queued, closes its connection and ends by itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{mpsc, oneshot};

use super::error;
use crate::store::Error;

const QUEUED_JOBS_MAX: usize = 16;

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
    running: Arc<Running>,
    /// Jobs that were asked for and have not ended.
    load: Arc<AtomicUsize>,
}

/// Threads that all do the same.
pub(super) struct Workers(Vec<Worker>);

/// The job that a thread runs.
struct Running {
    job: Mutex<Option<Arc<Asked>>>,
    interrupt: InterruptHandle,
}

/// That somebody waits for a job.
struct Asked;

/// Ends a reader's job when it is dropped.
struct Waiting {
    asked: Arc<Asked>,
    running: Arc<Running>,
    role: Role,
}

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
        let running = Arc::new(Running {
            job: Mutex::default(),
            interrupt: connection.get_interrupt_handle(),
        });
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
            running,
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
        let waiting = Waiting {
            asked: Arc::new(Asked),
            running: Arc::clone(&self.running),
            role: self.role,
        };
        let (asked, running, role) = (
            Arc::clone(&waiting.asked),
            Arc::clone(&self.running),
            self.role,
        );
        let job: Job = Box::new(move |connection| {
            let _load = load;
            if role == Role::Reader && reply.is_closed() {
                return;
            }
            running.set(Some(asked));
            let result = job(connection);
            running.set(None);
            // Fails where nobody waits any more, which is theirs to decide.
            reply.send(result).ok();
        });
        // Both fail only after a job has panicked, and the thread with it.
        let ended = || error::worker_ended(&self.address);
        self.jobs.send(job).await.map_err(|_| ended())?;
        let answer = answer.await.map_err(|_| ended());
        drop(waiting);
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

impl Running {
    fn set(&self, job: Option<Arc<Asked>>) {
        *self.job() = job;
    }

    fn job(&self) -> MutexGuard<'_, Option<Arc<Asked>>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.role == Role::Writer {
            return;
        }
        // Under the lock, so that it is no other job by now.
        let job = self.running.job();
        if job
            .as_ref()
            .is_some_and(|job| Arc::ptr_eq(job, &self.asked))
        {
            self.running.interrupt.interrupt();
        }
    }
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
