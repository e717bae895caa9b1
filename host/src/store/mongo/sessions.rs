//! The sessions that this store's transactions run in.
//!
//! They are few, and kept for the store's life, because a transaction that nobody ends (its host
//! was killed, its answer lost) stays open on the server, up to a minute, and keeps everyone else
//! from its documents and checkpoints. It ends at once
//! - where its session starts another one: a session left in doubt is the next to be taken;
//! - where its session is with an operation that nobody waits for any more, or has come back from one
//!   in the middle of a transaction: the next transaction ends that session first
//!   ([`end_astray`](Sessions::end_astray));
//! - where somebody ends its session: each claim leaves the ids of the claimer's sessions in the
//!   checkpoint, and who claims next ends them. The owner before has nothing to store any more;
//!   what it has under way for other partitions fails as transient, and runs again.
//!
//! Not here: what runs in a transaction (`commit`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bson::{Bson, Timestamp, doc};
use mongodb::ClientSession;
use mongodb::error::Result as Answer;
use mongodb::options::{
    ReadConcern, ReadPreference, SelectionCriteria, SessionOptions, TransactionOptions,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use super::REQUEST_TIMEOUT;
use super::connect::write_concern;
use super::error::Failure;
use super::operation::Operations;

/// Transactions in flight; two keep two cores of a server busy, and more get in each other's way.
const SESSIONS: usize = 8;

/// All sessions of one store.
pub(super) struct Sessions {
    /// Those in doubt at the back, from where they are taken.
    free: Mutex<VecDeque<Session>>,
    /// Those (by id) that are with operations which nobody waits for, and those that such ones have
    /// left in the middle of a transaction.
    astray: Mutex<Vec<Bson>>,
    /// One for each free session.
    permits: Arc<Semaphore>,
    ids: Vec<Bson>,
}

/// A session, and what it has left on the server.
struct Session {
    client: ClientSession,
    id: Bson,
    /// A transaction that is neither committed nor aborted.
    open: bool,
}

/// Somebody who waits for an operation that has a session: as long as this lives, and it is not
/// [`over`](Waiting::over). Then the session is astray until the operation has ended.
pub(super) struct Waiting {
    sessions: Arc<Sessions>,
    /// Missing where the session is back.
    id: Option<Bson>,
}

/// One session for one commit. It is given to each operation, and comes back with the answer; where
/// nobody waits for that, it is free once the operation has ended.
pub(super) struct Lease {
    sessions: Arc<Sessions>,
    /// Present until the lease is dropped.
    session: Option<Session>,
    /// False while the server may have a transaction of this session open.
    settled: bool,
    _permit: OwnedSemaphorePermit,
}

impl Sessions {
    /// Starts the sessions; the server hears of one when it is first used.
    pub(super) async fn start(operations: &Operations) -> Result<Self, Failure> {
        let mut free = VecDeque::with_capacity(SESSIONS);
        let mut ids = Vec::with_capacity(SESSIONS);
        for _ in 0..SESSIONS {
            let started = operations.ask(REQUEST_TIMEOUT, |database| async move {
                let client = database.client();
                client.start_session().with_options(options()).await
            });
            let client = started.await?;
            let id = client.id().get("id").cloned();
            let id = id.ok_or(Failure::Reply("a session has no id"))?;
            ids.push(id.clone());
            free.push_back(Session {
                client,
                id,
                open: false,
            });
        }
        Ok(Sessions {
            free: Mutex::new(free),
            astray: Mutex::default(),
            permits: Arc::new(Semaphore::new(SESSIONS)),
            ids,
        })
    }

    /// Names the sessions to others.
    pub(super) fn ids(&self) -> &[Bson] {
        &self.ids
    }

    /// Waits for a free session.
    pub(super) async fn lease(self: &Arc<Self>) -> Lease {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        let session = self.free().pop_back();
        let session = session.expect("there is one for each permit");
        // What it has open ends with its next transaction.
        self.astray().retain(|id| *id != session.id);
        Lease {
            sessions: Arc::clone(self),
            session: Some(session),
            settled: true,
            _permit: permit,
        }
    }

    /// An operation is given a session, and somebody waits for its answer. It keeps the session until
    /// it has ended, whether it answers in time or not.
    pub(super) fn wait(self: &Arc<Self>, id: Bson) -> Waiting {
        Waiting {
            sessions: Arc::clone(self),
            id: Some(id),
        }
    }

    /// Ends at the server what such sessions have open there: it would be in the way.
    pub(super) async fn end_astray(&self, operations: &Operations) {
        let ids = self.astray().clone();
        end(operations, &ids).await;
        self.astray().retain(|id| !ids.contains(id));
    }

    fn free(&self) -> MutexGuard<'_, VecDeque<Session>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn astray(&self) -> MutexGuard<'_, Vec<Bson>> {
        self.astray.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The session is back.
    pub(super) fn over(mut self) {
        self.id = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.sessions.astray().push(id);
        }
    }
}

impl Lease {
    pub(super) fn id(&self) -> &Bson {
        &self
            .session
            .as_ref()
            .expect("it is there until the drop")
            .id
    }

    pub(super) fn session(&mut self) -> &mut ClientSession {
        &mut self.get().client
    }

    /// How new the data is that this session has seen.
    pub(super) fn operation_time(&mut self) -> Option<Timestamp> {
        self.session().operation_time()
    }

    /// Starts a transaction. Whatever this session had open ends with the first command.
    pub(super) async fn begin(&mut self) -> Answer<()> {
        self.abort().await;
        self.settled = false;
        self.session().start_transaction().await?;
        self.get().open = true;
        Ok(())
    }

    /// Commits, or asks again what became of the commit.
    pub(super) async fn commit(&mut self) -> Answer<()> {
        // From here on the server alone knows, and the driver only lets it be asked again.
        self.get().open = false;
        self.session().commit_transaction().await?;
        self.settled = true;
        Ok(())
    }

    /// Ends the transaction, if one is open.
    pub(super) async fn abort(&mut self) {
        if !std::mem::take(&mut self.get().open) {
            return;
        }
        // The driver does not say whether the server heard of it, so the session stays in doubt.
        if let Err(error) = self.session().abort_transaction().await {
            debug!(%error, "a transaction could not be aborted");
        }
    }

    fn get(&mut self) -> &mut Session {
        self.session.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        let mut astray = self.sessions.astray();
        if self.settled {
            astray.retain(|id| *id != session.id);
        } else if session.open && !astray.contains(&session.id) {
            // It may have reached the server only after it was ended there.
            astray.push(session.id.clone());
        }
        drop(astray);
        let mut free = self.sessions.free();
        if self.settled {
            free.push_front(session);
        } else {
            free.push_back(session);
        }
    }
}

/// Ends the transactions of other sessions. A user may always end its own; where that fails, they
/// end by the server's time limit.
pub(super) async fn end(operations: &Operations, ids: impl IntoIterator<Item = &Bson>) {
    let sessions = ids.into_iter().map(|id| doc! { "id": id }.into());
    let sessions: Vec<Bson> = sessions.collect();
    if sessions.is_empty() {
        return;
    }
    let kill = doc! { "killSessions": sessions };
    let ended = operations.ask(REQUEST_TIMEOUT, |database| async move {
        let admin = database.client().database("admin");
        admin.run_command(kill).await
    });
    if let Err(failure) = ended.await {
        debug!(%failure, "sessions could not be ended");
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
