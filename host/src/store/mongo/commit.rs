//! Stores a batch: asks the server, and lets `decision` say what its answers mean.
//!
//! Guarantee: between the first command of a transaction and its commit, this host waits for
//! nothing but the server. All commands are built before.
//!
//! All runs of one commit share a session, and whatever a run that was given up has left open on
//! the server ends when the next one starts. A session whose operation did not answer in time, or
//! whose commit was dropped, stays with that operation, and the next run takes another one.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mongodb::Database;
use mongodb::error::Result as Answer;
use tracing::debug;

use super::command::{self, Command, Target};
use super::decision::{
    End, Event, Progress, Reply, Step, Suspects, differs, entry_differs, read_reply, verdict,
};
use super::error::{Class, Failure};
use super::load::{Part, Stopped};
use super::sessions::Lease;
use super::{MongoStore, REQUEST_TIMEOUT, rejection};
use crate::projection::DocumentId;
use crate::store::{Change, Commit, CommitError, Culprit, Error, Guard, Write};

/// A commit and all that is known of its runs.
struct Attempt<'c> {
    store: &'c MongoStore,
    commit: &'c Commit,
    /// For the next run, where they are built already: a run hands them to the driver.
    commands: Option<Vec<Command>>,
    /// Missing where an operation has not given it back.
    session: Option<Lease>,
    /// Writes, or changes of entries (by index), of which one did not find what it expected.
    suspects: Vec<usize>,
    /// The suspect (by index) that was found out.
    culprit: Option<usize>,
    /// What the server has rejected, where it says what that is.
    rejected: Option<Culprit>,
    /// The last failure: what the commit's error will name.
    cause: Failure,
}

impl MongoStore {
    pub(super) async fn commit_batch(&self, commit: &Commit) -> Result<(), CommitError> {
        if commit.writes.is_empty() && commit.entries.is_empty() && commit.advances.is_empty() {
            return Ok(());
        }
        assert!(
            !commit.advances.is_empty(),
            "a commit moves a checkpoint: without one, nothing fences it"
        );
        let commands = command::build(commit);
        let commands = commands.map_err(|error| CommitError::TooLarge(Box::new(error)))?;
        let mut attempt = Attempt {
            store: self,
            commit,
            commands: Some(commands),
            session: None,
            suspects: Vec::new(),
            culprit: None,
            rejected: None,
            cause: Failure::Reply("other transactions were in the way each time"),
        };
        let mut progress = Progress::new();
        let mut step = progress.start();
        loop {
            let event = match step {
                Step::Run { after } => {
                    wait(after).await;
                    attempt.run().await
                }
                Step::Commit { after } => {
                    wait(after).await;
                    attempt.commit().await
                }
                Step::ReadCheckpoints => attempt.read_checkpoints().await,
                Step::ReadDocuments => attempt.read_documents().await,
                Step::ReadEntries => attempt.read_entries().await,
                Step::Finish(end) => return attempt.finish(end).await,
            };
            step = progress.next(event, rand::random());
        }
    }
}

impl Attempt<'_> {
    /// Runs the transaction up to, not including, its commit.
    async fn run(&mut self) -> Event {
        if let Err(failure) = self.begin().await {
            return self.run_failed(failure);
        }
        let commands = self.commands.take();
        let commands = commands
            .unwrap_or_else(|| command::build(self.commit).expect("it could be built before"));
        for command in commands {
            let request = self.in_session(|database, mut lease| async move {
                let request = database.run_raw_command(command.body);
                let reply = request.session(lease.session()).await;
                (lease, reply)
            });
            let event = match request.await {
                Ok(reply) => {
                    let reply = read_reply(&reply, command.target.statements());
                    self.judge(&command.target, reply)
                }
                Err(failure) => Some(self.command_failed(&command.target, failure)),
            };
            if let Some(event) = event {
                // Before any look at what the transaction ran into: it would be in the way.
                self.abort().await;
                return event;
            }
        }
        Event::Ran
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let sessions = &self.store.shared.sessions;
        sessions.end_astray(&self.store.shared.pipeline).await;
        if self.session.is_none() {
            self.session = Some(sessions.lease().await);
        }
        self.in_session(|_, mut lease| async move {
            let begun = lease.begin().await;
            (lease, begun)
        })
        .await
    }

    async fn abort(&mut self) {
        let aborted = self.in_session(|_, mut lease| async move {
            lease.abort().await;
            (lease, Ok(()))
        });
        if let Err(failure) = aborted.await {
            debug!(%failure, "a transaction could not be aborted");
        }
    }

    /// Runs an operation that has the session and gives it back.
    async fn in_session<T, F>(
        &mut self,
        operation: impl FnOnce(Database, Lease) -> F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = (Lease, Answer<T>)> + Send + 'static,
    {
        let Some(lease) = self.session.take() else {
            return Err(Failure::NoAnswer(REQUEST_TIMEOUT));
        };
        let shared = &self.store.shared;
        let id = lease.id().clone();
        let run = shared
            .pipeline
            .run(REQUEST_TIMEOUT, |database| operation(database, lease));
        let run = pin!(run);
        // Dropped before the operation's answer is, and so before the session that comes with that.
        let waiting = shared.sessions.wait(id);
        let (lease, answer) = run.await?;
        waiting.over();
        self.session = Some(lease);
        Ok(answer?)
    }

    /// What the reply to one command means for the run; `None` where the next one may go.
    fn judge(&mut self, target: &Target, reply: Reply) -> Option<Event> {
        match (reply, target) {
            (Reply::Matched, _) => None,
            (Reply::Short, Target::Checkpoints { .. }) => {
                Some(Event::Contradicted(Suspects::Checkpoints))
            }
            (Reply::Short, Target::Documents(writes)) => {
                Some(self.suspect(Suspects::Documents, writes))
            }
            (Reply::Short, Target::Entries(changes)) => {
                Some(self.suspect(Suspects::Entries, changes))
            }
            (Reply::Exists { statement }, Target::Documents(writes))
                if statement < writes.len() =>
            {
                Some(self.suspect(Suspects::Documents, &writes[statement..=statement]))
            }
            (Reply::Exists { statement }, Target::Entries(changes))
                if statement < changes.len() =>
            {
                Some(self.suspect(Suspects::Entries, &changes[statement..=statement]))
            }
            (
                Reply::Rejected {
                    statement,
                    code,
                    message,
                },
                Target::Documents(_) | Target::Entries(_),
            ) if statement < target.statements() => {
                Some(self.rejected(target, statement, code, &message))
            }
            (Reply::Exists { .. } | Reply::Rejected { .. } | Reply::Unreadable, _) => {
                let failure = Failure::Reply("a write was answered with what is no such answer");
                Some(self.run_failed(failure))
            }
        }
    }

    /// The server does not take what one statement would store.
    fn rejected(&mut self, target: &Target, statement: usize, code: i32, message: &str) -> Event {
        if rejection::is_trouble(code) {
            return self.run_failed(Failure::Trouble {
                code,
                message: message.to_owned(),
            });
        }
        let (culprit, text) = rejection::of_statement(self.commit, target, statement);
        self.rejected = Some(culprit);
        let message = rejection::clipped(message);
        self.run_failed(Failure::Rejected {
            code,
            text: format!("MongoDB does not take {text} (code {code}): {message}"),
        })
    }

    fn command_failed(&mut self, target: &Target, failure: Failure) -> Event {
        let failure = match (failure.code(), target) {
            (Some(code), Target::Documents(_) | Target::Entries(_))
                if rejection::is_about_content(code) =>
            {
                self.rejected = None;
                let text = format!("MongoDB does not take a batch (code {code}): {failure}");
                Failure::Rejected { code, text }
            }
            _ => failure,
        };
        match (failure.class(), target) {
            // The document may have changed since it was read. If so, no further run can pass.
            (Class::Conflict, Target::Documents(writes))
                if writes.iter().any(|&index| self.is_guarded(index)) =>
            {
                self.cause = failure;
                self.suspect(Suspects::Documents, writes)
            }
            _ => self.run_failed(failure),
        }
    }

    fn is_guarded(&self, write: usize) -> bool {
        match &self.commit.writes[write].change {
            Change::Insert(_) => false,
            Change::Update { guard, .. } | Change::Delete { guard } => match guard {
                Guard::SoleWriter => false,
                Guard::Unchanged(_) => true,
            },
        }
    }

    fn suspect(&mut self, suspects: Suspects, indices: &[usize]) -> Event {
        self.suspects = indices.to_vec();
        Event::Contradicted(suspects)
    }

    fn run_failed(&mut self, failure: Failure) -> Event {
        let class = failure.class();
        debug!(?class, %failure, "a transaction failed");
        self.cause = failure;
        Event::RunFailed(class)
    }

    async fn commit(&mut self) -> Event {
        let committed = self.in_session(|_, mut lease| async move {
            let committed = lease.commit().await;
            (lease, committed)
        });
        let committed = committed.await;
        // Also where the server did not know: a look at the checkpoints then waits for what it
        // did, whether a majority has it yet or not.
        let session = self.session.as_mut();
        self.store.note(session.and_then(Lease::operation_time));
        match committed {
            Ok(()) => Event::Committed,
            Err(failure) => {
                let class = failure.class();
                debug!(?class, %failure, "the commit of a transaction failed");
                self.cause = failure;
                Event::CommitFailed(class)
            }
        }
    }

    async fn read_checkpoints(&mut self) -> Event {
        let advances = &self.commit.advances;
        let ids: Vec<String> = advances
            .iter()
            .map(|advance| advance.checkpoint.to_string())
            .collect();
        match self.store.read_claims(&ids).await {
            Ok(found) => Event::Checkpoints(verdict(advances, &found)),
            Err(failure) => self.look_failed(failure),
        }
    }

    /// Looks for the suspect that is not in the state which its write expects.
    async fn read_documents(&mut self) -> Event {
        let suspects = std::mem::take(&mut self.suspects);
        let writes = &self.commit.writes;
        // All suspects are of one command, and so of one view.
        let Some(&first) = suspects.first() else {
            return Event::DocumentsAgree;
        };
        let view = &writes[first].view;
        let ids: Vec<DocumentId> = suspects
            .iter()
            .map(|&index| DocumentId::clone(&writes[index].id))
            .collect();
        let loaded = self.store.load_part(view, &ids, Part::Provenance).await;
        self.culprit = match loaded {
            Ok(found) => suspects
                .into_iter()
                .zip(found)
                .find(|(index, found)| differs(&writes[*index].change, found.as_ref()))
                .map(|(index, _)| index),
            // Whoever reads it again will be told what is wrong with it.
            Err(Stopped::Foreign(invalid)) => suspects
                .into_iter()
                .find(|&index| *writes[index].id == *invalid.id),
            Err(Stopped::Failed(failure)) => return self.look_failed(failure),
        };
        match self.culprit {
            Some(_) => Event::DocumentDiffers,
            None => Event::DocumentsAgree,
        }
    }

    /// Looks for the suspect that exists where it must not, or the other way around.
    async fn read_entries(&mut self) -> Event {
        let suspects = std::mem::take(&mut self.suspects);
        let changes = &self.commit.entries;
        // All suspects are of one command, and so of one table.
        let Some(&first) = suspects.first() else {
            return Event::EntriesAgree;
        };
        let ids: Vec<&str> = suspects
            .iter()
            .map(|&index| &**changes[index].id())
            .collect();
        let existing = match self.store.existing(changes[first].table(), &ids).await {
            Ok(existing) => existing,
            Err(failure) => return self.look_failed(failure),
        };
        self.culprit = suspects.into_iter().find(|&index| {
            let change = &changes[index];
            entry_differs(change, existing.contains(&**change.id()))
        });
        match self.culprit {
            Some(_) => Event::EntryDiffers,
            None => Event::EntriesAgree,
        }
    }

    fn look_failed(&mut self, failure: Failure) -> Event {
        let class = failure.class();
        debug!(?class, %failure, "a commit could not be looked up");
        self.cause = failure;
        Event::LookFailed(class)
    }

    async fn finish(self, end: End) -> Result<(), CommitError> {
        if let (End::Refused, Failure::Rejected { code, text }) = (&end, &self.cause) {
            let rejection = self
                .store
                .rejection(self.commit, self.rejected, *code, text);
            return Err(CommitError::Rejected(Box::new(rejection.await)));
        }
        let unavailable = |cause| Error::Unavailable {
            address: self.store.shared.address.clone(),
            source: Box::new(cause),
        };
        match (end, self.culprit) {
            (End::Stored, _) => Ok(()),
            (End::Fenced(lost), _) => {
                let advances = &self.commit.advances;
                let checkpoints = lost.into_iter().map(|i| advances[i].checkpoint.clone());
                Err(CommitError::Fenced {
                    checkpoints: checkpoints.collect(),
                })
            }
            (End::Mismatch, Some(culprit)) => {
                let Write { view, id, .. } = &self.commit.writes[culprit];
                Err(CommitError::Mismatch {
                    view: view.clone(),
                    id: DocumentId::clone(id),
                })
            }
            (End::EntryMismatch, Some(culprit)) => {
                let change = &self.commit.entries[culprit];
                Err(CommitError::EntryMismatch {
                    table: change.table(),
                    id: Arc::clone(change.id()),
                })
            }
            (End::TooLarge, _) => Err(CommitError::TooLarge(Box::new(self.cause))),
            (End::Refused, _) => {
                let place = self.store.place("write documents");
                Err(CommitError::Store(self.cause.at(&place)))
            }
            (End::Unavailable | End::Mismatch | End::EntryMismatch, _) => {
                Err(CommitError::Store(unavailable(self.cause)))
            }
        }
    }
}

async fn wait(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}
