//! The sessions that this store's transactions run in.
//!
//! They are few, and kept for the store's life, because a transaction that nobody ends (its host
//! was killed, its future dropped, its answer lost) stays open on the server, up to a minute, and
//! keeps everyone else from its documents and checkpoints. It ends at once
//! - where its session starts another one: a session left in doubt is the next to be taken;
//! - where somebody ends its session: each claim leaves the ids of the claimer's sessions in the
//!   checkpoint, and who claims next ends them. The owner before has nothing to store any more;
//!   what it has under way for other partitions fails as transient, and runs again.
//!
//! Not here: what runs in a transaction (`commit`).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bson::{Bson, doc};
use mongodb::options::{
    ReadConcern, ReadPreference, SelectionCriteria, SessionOptions, TransactionOptions,
};
use mongodb::{Client, ClientSession};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::debug;

use super::connect::write_concern;
use super::error::Failure;
use super::{REQUEST_TIMEOUT, within};

/// Transactions in flight; two keep two cores of a server busy, and more get in each other's way.
const SESSIONS: usize = 8;

/// All sessions of one store.
pub(super) struct Sessions {
    /// Those in doubt at the back, from where they are taken.
    free: Mutex<VecDeque<Session>>,
    /// One for each free session.
    permits: Semaphore,
    ids: Vec<Bson>,
}

/// A session, and what it has left on the server.
struct Session {
    client: ClientSession,
    /// A transaction that is neither committed nor aborted.
    open: bool,
}

/// One session for one commit.
pub(super) struct Lease<'s> {
    sessions: &'s Sessions,
    /// Present until the lease is dropped.
    session: Option<Session>,
    /// False while the server may have a transaction of this session open.
    settled: bool,
    _permit: SemaphorePermit<'s>,
}

impl Sessions {
    /// Starts the sessions; the server hears of one when it is first used.
    pub(super) async fn start(client: &Client) -> Result<Self, Failure> {
        let mut free = VecDeque::with_capacity(SESSIONS);
        let mut ids = Vec::with_capacity(SESSIONS);
        for _ in 0..SESSIONS {
            let start = client.start_session().with_options(options());
            let client = within(REQUEST_TIMEOUT, start).await?;
            let id = client.id().get("id").cloned();
            ids.push(id.ok_or(Failure::Reply("a session has no id"))?);
            free.push_back(Session {
                client,
                open: false,
            });
        }
        Ok(Sessions {
            free: Mutex::new(free),
            permits: Semaphore::new(SESSIONS),
            ids,
        })
    }

    /// Names the sessions to others.
    pub(super) fn ids(&self) -> &[Bson] {
        &self.ids
    }

    /// Waits for a free session.
    pub(super) async fn lease(&self) -> Lease<'_> {
        let permit = self.permits.acquire().await;
        let permit = permit.expect("nobody closes the semaphore");
        let session = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_back();
        Lease {
            sessions: self,
            session: Some(session.expect("there is one for each permit")),
            settled: true,
            _permit: permit,
        }
    }
}

impl Lease<'_> {
    pub(super) fn session(&mut self) -> &mut ClientSession {
        &mut self.get().client
    }

    /// Starts a transaction. Whatever this session had open ends with the first command.
    pub(super) async fn begin(&mut self) -> Result<(), Failure> {
        self.abort().await;
        self.settled = false;
        within(REQUEST_TIMEOUT, self.session().start_transaction()).await?;
        self.get().open = true;
        Ok(())
    }

    /// Commits, or asks again what became of the commit.
    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        // From here on the server alone knows, and the driver only lets it be asked again.
        self.get().open = false;
        within(REQUEST_TIMEOUT, self.session().commit_transaction()).await?;
        self.settled = true;
        Ok(())
    }

    /// Ends the transaction, if one is open.
    pub(super) async fn abort(&mut self) {
        if !std::mem::take(&mut self.get().open) {
            return;
        }
        // The driver does not say whether the server heard of it, so the session stays in doubt.
        let aborted = within(REQUEST_TIMEOUT, self.session().abort_transaction()).await;
        if let Err(failure) = aborted {
            debug!(%failure, "a transaction could not be aborted");
        }
    }

    fn get(&mut self) -> &mut Session {
        self.session.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        let mut free = self
            .sessions
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.settled {
            free.push_front(session);
        } else {
            free.push_back(session);
        }
    }
}

/// Ends the transactions of other sessions. A user may always end its own; where that fails, they
/// end by the server's time limit.
pub(super) async fn end(client: &Client, ids: impl IntoIterator<Item = &Bson>) {
    let sessions = ids.into_iter().map(|id| doc! { "id": id }.into());
    let sessions: Vec<Bson> = sessions.collect();
    if sessions.is_empty() {
        return;
    }
    let kill = doc! { "killSessions": sessions };
    if let Err(failure) = within(REQUEST_TIMEOUT, client.database("admin").run_command(kill)).await
    {
        debug!(%failure, "the sessions of a partition's last owner could not be ended");
    }
}

fn options() -> SessionOptions {
    let transaction = TransactionOptions::builder()
        .read_concern(ReadConcern::snapshot())
        .write_concern(write_concern())
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .build();
    SessionOptions::builder()
        .default_transaction_options(transaction)
        .build()
}
