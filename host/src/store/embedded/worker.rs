//! A thread that owns a connection and runs what others ask of it, one job after the other.
//!
//! Guarantee: a job runs to its end even if the one who asked stops waiting, so a transaction is
//! never left half done by a dropped future.
//! Bounds: at most [`QUEUED_JOBS_MAX`] jobs wait, then those who ask do. A job's bytes are those
//! of one batch or one list of ids, which the pipeline bounds.
//! On drop: the thread finishes what is queued, closes its connection and ends by itself.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::error;
use crate::store::Error;

const QUEUED_JOBS_MAX: usize = 16;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the thread.
pub(super) struct Worker {
    address: Arc<str>,
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    /// Starts the thread. It ends when the handle is dropped, and closes its connection once
    /// `earlier`, if any, has ended.
    pub(super) fn start(
        name: &str,
        address: Arc<str>,
        mut connection: Connection,
        earlier: Option<JoinHandle<()>>,
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUED_JOBS_MAX);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
                if let Some(earlier) = earlier {
                    // Its panic, if any, has been told to those who waited for its jobs.
                    earlier.join().ok();
                }
            })
            .map_err(|e| Error::Unavailable {
                address: address.to_string(),
                source: e.into(),
            })?;
        Ok((Worker { address, jobs }, thread))
    }

    /// Runs a job on the connection and waits for its result.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Fails where nobody waits any more, which is theirs to decide.
            reply.send(job(connection)).ok();
        });
        // Both fail only after a job has panicked, and the thread with it.
        let ended = || error::worker_ended(&self.address);
        self.jobs.send(job).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }
}
