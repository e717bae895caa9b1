//! A host's way to the store, with everything that can go wrong on it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use projectionist::projection::DocumentId;
use projectionist::record::{Lineage, NextOffset};
use projectionist::store;
use projectionist::store::{
    Advance, Answer, Change, CheckpointId, Claim, Commit, CommitError, Culprit, Error, Guard,
    Rejection, Repairs, Store, StoredDocument, Table, ViewId, Write,
};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::watch;

use crate::journal::{Entry, Journal, moves};
use crate::topic::partition_id;

/// How the store behaves as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Up,
    /// It refuses connections.
    Away,
    /// It answers that this host may not do anything.
    Refusing,
    /// It does not answer at all.
    Silent,
}

/// Where commits wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Nowhere,
    BeforeItHappens,
    /// It has happened, and the host does not know.
    AfterItHappened,
}

/// When the connection breaks during a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    Before,
    After,
}

/// How often what happens, each commit for itself.
pub(crate) struct Weather {
    pub(crate) random: StdRng,
    pub(crate) breaks: f64,
    /// Commits that others overtake.
    pub(crate) slow: f64,
}

/// True of a document that is not taken.
type Rule = Box<dyn Fn(&StoredDocument) -> bool + Send>;

pub(crate) struct FaultyStore {
    inner: Arc<dyn Store>,
    journal: Journal,
    mode: watch::Sender<Mode>,
    hold: watch::Sender<Hold>,
    breaks: Mutex<VecDeque<Break>>,
    weather: Mutex<Option<Weather>>,
    /// The most writes that a commit may have.
    writes_max: AtomicUsize,
    /// What it does not take.
    refuses: Mutex<Option<Rule>>,
    /// A document that a foreign hand removes or makes just before each commit that writes it,
    /// and how often it still does.
    meddle: Mutex<Option<(DocumentId, usize)>>,
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<dyn Store>, journal: Journal) -> Self {
        FaultyStore {
            inner,
            journal,
            mode: watch::Sender::new(Mode::Up),
            hold: watch::Sender::new(Hold::Nowhere),
            breaks: Mutex::default(),
            weather: Mutex::default(),
            writes_max: AtomicUsize::new(usize::MAX),
            refuses: Mutex::default(),
            meddle: Mutex::default(),
        }
    }

    /// Lets it take no document of which this is true, as an index or a validator does.
    pub(crate) fn refuse(&self, rule: impl Fn(&StoredDocument) -> bool + Send + 'static) {
        *self.refuses.lock().expect("nobody panics here") = Some(Box::new(rule));
    }

    /// From now on it takes everything again.
    pub(crate) fn take_all(&self) {
        *self.refuses.lock().expect("nobody panics here") = None;
    }

    /// What a commit has that it does not take.
    fn refused(&self, commit: &Commit) -> Option<Rejection> {
        let refuses = self.refuses.lock().expect("nobody panics here");
        let rule = refuses.as_ref()?;
        let refused = |write: &&Write| match &write.change {
            Change::Insert(document) | Change::Update { document, .. } => rule(document),
            Change::Delete { .. } => false,
        };
        let Write { view, id, .. } = commit.writes.iter().find(refused)?;
        let (view, id) = (view.clone(), id.clone());
        Some(Rejection {
            address: self.inner.address().to_owned(),
            message: format!("index \"rule\" forbids document \"{id}\""),
            culprit: Some(Culprit::Document { view, id }),
        })
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub(crate) fn set_hold(&self, hold: Hold) {
        self.hold.send_replace(hold);
    }

    /// Lets the next commits break, one after the other.
    pub(crate) fn break_next(&self, breaks: impl IntoIterator<Item = Break>) {
        let mut queue = self.breaks.lock().expect("nobody panics here");
        queue.extend(breaks);
    }

    pub(crate) fn set_weather(&self, weather: Option<Weather>) {
        *self.weather.lock().expect("nobody panics here") = weather;
    }

    pub(crate) fn set_writes_max(&self, writes: usize) {
        self.writes_max.store(writes, Ordering::SeqCst);
    }

    pub(crate) fn meddle(&self, id: &str, times: usize) {
        *self.meddle.lock().expect("nobody panics here") = Some((id.into(), times));
    }

    fn unavailable(&self) -> Error {
        Error::Unavailable {
            address: self.inner.address().to_owned(),
            source: "connection refused".into(),
        }
    }

    async fn connect(&self) -> Result<(), Error> {
        let mut mode = self.mode.subscribe();
        let mode = mode.wait_for(|mode| *mode != Mode::Silent).await;
        match *mode.expect("the store outlives its calls") {
            Mode::Up => Ok(()),
            Mode::Away => Err(self.unavailable()),
            Mode::Refusing => Err(Error::Refused {
                address: self.inner.address().to_owned(),
                message: "not authorised to write".to_owned(),
            }),
            Mode::Silent => unreachable!("it was waited for"),
        }
    }

    async fn wait_while(&self, hold: Hold) {
        let mut held = self.hold.subscribe();
        let passed = held.wait_for(|now| *now != hold).await;
        drop(passed.expect("the store outlives its calls"));
    }

    /// What becomes of this commit: whether it breaks, and how many turns it waits.
    fn fate(&self) -> (Option<Break>, usize) {
        let next = self.breaks.lock().expect("nobody panics here").pop_front();
        let mut weather = self.weather.lock().expect("nobody panics here");
        let Some(weather) = weather.as_mut() else {
            return (next, 0);
        };
        let random = &mut weather.random;
        let breaks = random.random_bool(weather.breaks).then(|| {
            if random.random_bool(0.5) {
                Break::Before
            } else {
                Break::After
            }
        });
        let turns = match random.random_bool(weather.slow) {
            true => random.random_range(1..2000),
            false => 0,
        };
        (next.or(breaks), turns)
    }

    async fn meddle_with(&self, commit: &Commit) {
        let found = {
            let mut meddle = self.meddle.lock().expect("nobody panics here");
            let Some((id, times)) = meddle.as_mut().filter(|(_, times)| *times > 0) else {
                return;
            };
            let write = commit.writes.iter().find(|write| write.id == *id);
            *times -= usize::from(write.is_some());
            write.map(|write| write.view.clone()).zip(Some(id.clone()))
        };
        if let Some((view, id)) = found {
            toggle(&*self.inner, view, id).await;
        }
    }
}

/// Somebody who is not the projection writes to its view.
pub(crate) async fn intrude(store: &dyn Store, write: Write) {
    intrude_all(store, vec![write]).await;
}

/// The same of several documents at once.
pub(crate) async fn intrude_all(store: &dyn Store, writes: Vec<Write>) {
    let checkpoint = CheckpointId {
        projection: "intruder".into(),
        version: 1,
        copy: "main".into(),
        partition: partition_id(0),
    };
    let claim = store.claim(&checkpoint, "intruder").await;
    let Claim {
        epoch,
        next,
        repairs,
    } = claim.expect("the store is in order");
    let advance = Advance {
        checkpoint,
        epoch,
        from: next,
        to: NextOffset(next.0 + 1),
        lineage: Lineage::default(),
        repairs: Repairs {
            from: repairs,
            to: repairs,
        },
    };
    let commit = Commit {
        writes,
        entries: Vec::new(),
        advances: vec![advance],
    };
    store.commit(&commit).await.expect("nothing is in its way");
}

/// Removes a document, or makes it where it does not exist.
async fn toggle(store: &dyn Store, view: ViewId, id: DocumentId) {
    let stored = store.load(&view, std::slice::from_ref(&id)).await;
    let stored = stored.expect("the store is in order").remove(0);
    let change = match stored {
        Some(_) => Change::Delete {
            guard: Guard::SoleWriter,
        },
        None => Change::Insert(StoredDocument {
            body: crate::ledger::Account::default().body(),
            provenance: projectionist::store::Provenance {
                revision: 1,
                partition: partition_id(0),
                offset: projectionist::record::Offset(0),
                plugin: "by hand".into(),
            },
        }),
    };
    intrude(store, Write { view, id, change }).await;
}

#[async_trait]
impl Store for FaultyStore {
    fn address(&self) -> &str {
        self.inner.address()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.connect().await?;
        self.inner.ping().await
    }

    async fn prepare(&self, views: &[ViewId]) -> Result<(), Error> {
        self.connect().await?;
        self.inner.prepare(views).await
    }

    async fn own(&self, views: &[ViewId], writer: &str) -> Result<(), Error> {
        self.connect().await?;
        self.inner.own(views, writer).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    async fn claim_from(
        &self,
        checkpoint: &CheckpointId,
        owner: &str,
        start: NextOffset,
    ) -> Result<Claim, Error> {
        self.connect().await?;
        self.inner.claim_from(checkpoint, owner, start).await
    }

    async fn lineage(&self, checkpoint: &CheckpointId) -> Result<Lineage, Error> {
        self.connect().await?;
        self.inner.lineage(checkpoint).await
    }

    async fn checkpoint(&self, checkpoint: &CheckpointId) -> Result<Option<Claim>, Error> {
        self.connect().await?;
        self.inner.checkpoint(checkpoint).await
    }

    async fn share_keys(&self, writer: &str) -> Result<(), Error> {
        self.connect().await?;
        self.inner.share_keys(writer).await
    }

    async fn keys_are_shared(&self, writer: &str) -> Result<bool, Error> {
        self.connect().await?;
        self.inner.keys_are_shared(writer).await
    }

    async fn load(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<StoredDocument>>, Error> {
        let ids_read = ids.iter().map(ToString::to_string).collect();
        self.journal.note(Entry::Read(ids_read));
        self.connect().await?;
        let documents = self.inner.load(view, ids).await?;
        let bodies = documents.iter().flatten();
        let bytes = bodies.map(|document| document.body.as_bytes().len());
        self.journal.note(Entry::Loaded(bytes.sum()));
        Ok(documents)
    }

    async fn load_some(
        &self,
        view: &ViewId,
        ids: &[DocumentId],
        bytes_max: usize,
    ) -> Result<Vec<Answer>, Error> {
        self.connect().await?;
        let answers = self.inner.load_some(view, ids, bytes_max).await?;
        let told = ids.iter().zip(&answers);
        let told = told.filter(|(_, answer)| **answer != Answer::Unread);
        let ids_read = told.map(|(id, _)| id.to_string()).collect();
        self.journal.note(Entry::Read(ids_read));
        let bytes = answers.iter().map(|answer| match answer {
            Answer::Found(document) => document.body.as_bytes().len(),
            Answer::Absent | Answer::Unread => 0,
        });
        self.journal.note(Entry::Loaded(bytes.sum()));
        Ok(answers)
    }

    async fn commit(&self, commit: &Commit) -> Result<(), CommitError> {
        self.journal.note(Entry::Attempted(moves(commit)));
        self.wait_while(Hold::BeforeItHappens).await;
        self.connect().await?;
        let (breaks, turns) = self.fate();
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        if breaks == Some(Break::Before) {
            return Err(self.unavailable().into());
        }
        if commit.writes.len() > self.writes_max.load(Ordering::SeqCst) {
            return Err(CommitError::TooLarge("over 16 MiB".into()));
        }
        if let Some(rejection) = self.refused(commit) {
            self.journal.note(Entry::Refused);
            return Err(CommitError::Rejected(Box::new(rejection)));
        }
        self.meddle_with(commit).await;
        self.inner.commit(commit).await?;
        self.journal.note(Entry::Stored(moves(commit)));
        self.wait_while(Hold::AfterItHappened).await;
        if breaks == Some(Break::After) {
            return Err(self.unavailable().into());
        }
        Ok(())
    }

    async fn scan(
        &self,
        view: &ViewId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, StoredDocument)>, Error> {
        self.connect().await?;
        self.inner.scan(view, after, limit).await
    }

    async fn entries(
        &self,
        table: Table,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<store::Entry>, Error> {
        self.connect().await?;
        self.inner.entries(table, prefix, after, limit).await
    }

    async fn find_entries(
        &self,
        table: Table,
        ids: &[Arc<str>],
    ) -> Result<Vec<store::Entry>, Error> {
        self.connect().await?;
        self.inner.find_entries(table, ids).await
    }

    async fn put_entry(&self, entry: &store::Entry) -> Result<(), Error> {
        self.connect().await?;
        self.inner.put_entry(entry).await
    }

    async fn add_entry(&self, entry: &store::Entry) -> Result<bool, Error> {
        self.connect().await?;
        self.inner.add_entry(entry).await
    }

    async fn remove_entries(&self, table: Table, ids: &[Arc<str>]) -> Result<(), Error> {
        self.connect().await?;
        self.inner.remove_entries(table, ids).await
    }
}
