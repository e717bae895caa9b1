//! A native projection of transfers, and the same fold as a plain loop.
//!
//! View `balances` (`by-key`): each event shapes its key's document; a tombstone removes it.
//! View `accounts` (`shared`): each transfer shapes the documents of both its accounts. A document
//! holds a sum, a count and, for each partition, a hash chain over its events: whatever is lost,
//! repeated or out of order shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bson::raw::RawDocumentBuf;
use bson::{Document, doc};
use bytes::Bytes;
use projectionist::projection::{
    Batch, Body, Descriptor, DocumentKey, DocumentWrite, Documents, Encoding, Error, Fault,
    FaultKind, Output, Ownership, Projector, Rejected, View, ViewIndex,
};
use projectionist::record::Event;
use projectionist_tests::wait;

use crate::journal::{Entry, Journal};
use crate::topic::{ID_HEADER, Topic};

/// Which views there are, and so how partitions are folded: each for itself, or all in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    ByKey,
    Shared,
    Both,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) sum: i64,
    pub(crate) count: i64,
    pub(crate) chains: BTreeMap<String, i64>,
}

/// A document as the plain fold has it: what it holds, and which event shaped it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) account: Account,
    pub(crate) last: (i32, i64),
}

/// How the projection fails at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It names the event.
    Reject,
    /// It does not say which event it was.
    Trap,
    /// It goes on when the store is asked for the document of this id.
    WaitsForRead(&'static str),
}

/// Where the projection fails. Cloning it shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles(Arc<Mutex<Planned>>);

/// By partition and offset, for all plugins or for one.
type Planned = BTreeMap<(i32, i64), (Trouble, Option<&'static str>)>;

pub(crate) struct Ledger {
    descriptor: Arc<Descriptor>,
    hash: Arc<str>,
    troubles: Troubles,
    journal: Journal,
}

pub(crate) const PLUGIN: &str = "1ed6e4";

/// Another version, which makes the same documents.
pub(crate) const NEXT: &str = "4e47";

/// One that makes others.
pub(crate) const OTHER: &str = "07e4";

/// A transfer to nobody shapes its key's balance only.
pub(crate) const NOBODY: &str = "-";

impl Logic {
    pub(crate) fn views(self) -> Vec<View> {
        let view = |name: &str, ownership| View {
            name: name.into(),
            ownership,
        };
        let balances = view("balances", Ownership::ByKey);
        let accounts = view("accounts", Ownership::Shared);
        match self {
            Logic::ByKey => vec![balances],
            Logic::Shared => vec![accounts],
            Logic::Both => vec![balances, accounts],
        }
    }

    pub(crate) fn descriptor(self) -> Arc<Descriptor> {
        Arc::new(Descriptor {
            name: "ledger".to_owned(),
            version: "1".to_owned(),
            description: String::new(),
            encoding: Encoding::Bson,
            views: self.views(),
            headers: Vec::new(),
            config_schema: String::new(),
        })
    }
}

/// The documents of a view that an event shapes, and by how much.
fn shapes(ownership: Ownership, event: &Event) -> Vec<(String, i64)> {
    let key = text(event.key().expect("every event has a key"));
    let transfer = event.value().map(|value| {
        let (to, amount) = text(value).split_once(' ').expect("two words");
        (to, amount.parse::<i64>().expect("a number"))
    });
    match (ownership, transfer) {
        (Ownership::ByKey, transfer) => {
            vec![(key.to_owned(), transfer.map_or(0, |(_, amount)| amount))]
        }
        (Ownership::Shared, Some((NOBODY, _))) | (Ownership::Shared, None) => Vec::new(),
        (Ownership::Shared, Some((to, amount))) => {
            vec![(key.to_owned(), -amount), (to.to_owned(), amount)]
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the tests write text")
}

fn shape(account: &mut Option<Account>, partition: i32, event: &Event, amount: i64) {
    if event.value().is_none() {
        *account = None;
        return;
    }
    let account = account.get_or_insert_default();
    account.sum += amount;
    account.count += 1;
    let chain = account.chains.entry(partition.to_string()).or_default();
    *chain = link(*chain, event);
}

/// FNV-1a over what was before and the event.
fn link(chain: i64, event: &Event) -> i64 {
    let (before, offset) = (chain.to_le_bytes(), event.offset.0.to_le_bytes());
    let bytes = before
        .iter()
        .chain(&offset)
        .chain(event.value().into_iter().flatten());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::from_le_bytes(hash.to_le_bytes())
}

/// Folds a topic, each partition up to the position that `until` gives. An event with an id that
/// came before in its partition changes nothing.
pub(crate) fn fold(
    topic: &Topic,
    ownership: Ownership,
    until: impl Fn(i32) -> i64,
) -> BTreeMap<String, Expected> {
    let mut accounts: BTreeMap<String, (Option<Account>, (i32, i64))> = BTreeMap::new();
    for partition in topic.partitions() {
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        for event in topic.events(partition) {
            if event.offset.0 >= until(partition) {
                break;
            }
            let id = event.header(ID_HEADER).map(<[u8]>::to_vec);
            if id.is_some_and(|id| !seen.insert(id)) {
                continue;
            }
            for (id, amount) in shapes(ownership, &event) {
                let (account, last) = accounts.entry(id).or_default();
                shape(account, partition, &event, amount);
                *last = (partition, event.offset.0);
            }
        }
    }
    accounts
        .into_iter()
        .filter_map(|(id, (account, last))| {
            let account = account?;
            Some((id, Expected { account, last }))
        })
        .collect()
}

impl Account {
    pub(crate) fn body(&self) -> RawDocumentBuf {
        let chains: Document = self
            .chains
            .iter()
            .map(|(partition, chain)| (partition.clone(), (*chain).into()))
            .collect();
        let document = doc! { "sum": self.sum, "count": self.count, "chains": chains };
        RawDocumentBuf::try_from(&document).expect("a flat document")
    }

    pub(crate) fn read(bytes: &[u8]) -> Self {
        let document = Document::from_reader(bytes).expect("as it was written");
        let chains = document.get_document("chains").expect("it has chains");
        let chain = |(partition, chain): (&String, &bson::Bson)| {
            (partition.clone(), chain.as_i64().expect("a number"))
        };
        Account {
            sum: document.get_i64("sum").expect("a number"),
            count: document.get_i64("count").expect("a number"),
            chains: chains.iter().map(chain).collect(),
        }
    }
}

impl Troubles {
    pub(crate) fn set(&self, partition: i32, offset: i64, trouble: Trouble) {
        let mut troubles = self.0.lock().expect("nobody panics here");
        troubles.insert((partition, offset), (trouble, None));
    }

    /// The same for one plugin only.
    pub(crate) fn set_for(
        &self,
        plugin: &'static str,
        partition: i32,
        offset: i64,
        trouble: Trouble,
    ) {
        let mut troubles = self.0.lock().expect("nobody panics here");
        troubles.insert((partition, offset), (trouble, Some(plugin)));
    }

    /// From now on the projection can fold everything.
    pub(crate) fn clear(&self) {
        self.0.lock().expect("nobody panics here").clear();
    }

    /// What goes wrong in a batch: the first trap of it, or else all that it names.
    fn of(&self, plugin: &str, batch: Batch<'_>) -> Option<Fault> {
        let found = batch.events.iter().enumerate();
        let mut found = found.filter_map(|(index, event)| {
            let trouble = self.at(plugin, batch.partition.partition, event.offset.0)?;
            let fails = !matches!(trouble, Trouble::WaitsForRead(_));
            fails.then_some((index, trouble))
        });
        let (index, trouble) = found.next()?;
        let detail = "no such currency".to_owned();
        let rejected = found.filter(|(_, trouble)| *trouble == Trouble::Reject);
        let also = rejected.map(|(event, _)| Rejected {
            event,
            detail: detail.clone(),
        });
        let (kind, event, also) = match trouble {
            Trouble::Reject => (FaultKind::Rejected, Some(index), also.collect()),
            Trouble::Trap => (FaultKind::Trap, None, Vec::new()),
            Trouble::WaitsForRead(_) => unreachable!("it does not fail"),
        };
        Some(Fault {
            kind,
            detail: detail.clone(),
            event,
            also,
            rest: None,
        })
    }

    fn at(&self, plugin: &str, partition: i32, offset: i64) -> Option<Trouble> {
        let troubles = self.0.lock().expect("nobody panics here");
        let (trouble, only) = troubles.get(&(partition, offset))?;
        only.is_none_or(|only| only == plugin).then_some(*trouble)
    }

    /// Waits where the batch is to wait.
    fn wait(&self, plugin: &str, batch: Batch<'_>, journal: &Journal) {
        let partition = batch.partition.partition;
        for event in batch.events {
            let Some(Trouble::WaitsForRead(id)) = self.at(plugin, partition, event.offset.0) else {
                continue;
            };
            let is_read = |entry: &Entry| matches!(entry, Entry::Read(ids) if ids.iter().any(|read| read == id));
            let started = Instant::now();
            while !journal.entries().iter().any(is_read) {
                assert!(started.elapsed() < wait::DEADLINE, "\"{id}\" is not read");
                std::thread::yield_now();
            }
        }
    }

    fn holds_a_trap(&self, plugin: &str, batch: Batch<'_>) -> bool {
        let partition = batch.partition.partition;
        let mut events = batch.events.iter();
        events.any(|event| self.at(plugin, partition, event.offset.0) == Some(Trouble::Trap))
    }
}

impl Ledger {
    pub(crate) fn new(plugin: &str, logic: Logic, troubles: Troubles, journal: Journal) -> Self {
        Ledger {
            descriptor: logic.descriptor(),
            hash: plugin.into(),
            troubles,
            journal,
        }
    }

    fn fold_views(
        &self,
        batch: Batch<'_>,
        documents: &mut dyn Documents,
    ) -> Result<Vec<DocumentWrite>, Error> {
        let mut writes = Vec::new();
        for (index, view) in self.descriptor.views.iter().enumerate() {
            let index = ViewIndex(u32::try_from(index).expect("views are few"));
            writes.extend(self.fold_view(index, view.ownership, batch, documents)?);
        }
        Ok(writes)
    }

    /// What the events of a batch come to that are not left out.
    fn rest(
        &self,
        batch: Batch<'_>,
        fault: &Fault,
        documents: &mut dyn Documents,
    ) -> Result<Option<Box<Output>>, Error> {
        let left_out = fault.left_out(batch.events);
        let kept = (0..batch.events.len()).filter(|index| !left_out.contains(index));
        let kept: Vec<usize> = kept.collect();
        let events = kept.iter().map(|&index| Arc::clone(&batch.events[index]));
        let events: Vec<Arc<Event>> = events.collect();
        let rest = Batch {
            partition: batch.partition,
            events: &events,
        };
        if self.troubles.holds_a_trap(&self.hash, rest) {
            return Ok(None);
        }
        let mut writes = self.fold_views(rest, documents)?;
        for write in &mut writes {
            write.event = kept[write.event];
        }
        Ok(Some(Box::new(Output {
            writes,
            ..Output::default()
        })))
    }

    fn fold_view(
        &self,
        view: ViewIndex,
        ownership: Ownership,
        batch: Batch<'_>,
        documents: &mut dyn Documents,
    ) -> Result<Vec<DocumentWrite>, Error> {
        let touched: Vec<Vec<(String, i64)>> = batch
            .events
            .iter()
            .map(|event| shapes(ownership, event))
            .collect();
        let ids: BTreeSet<&str> = touched.iter().flatten().map(|(id, _)| &**id).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let stored = documents.get_many(view, &ids, usize::MAX)?;
        let stored = stored.expect("nothing is more than that");
        let read = |bytes: Option<Bytes>| bytes.map(|bytes| Account::read(&bytes));
        let mut accounts: BTreeMap<&str, (Option<Account>, usize)> = BTreeMap::new();
        for (id, bytes) in ids.into_iter().zip(stored) {
            accounts.insert(id, (read(bytes), 0));
        }
        for (index, (event, touched)) in batch.events.iter().zip(&touched).enumerate() {
            for (id, amount) in touched {
                let (account, last) = accounts.get_mut(&**id).expect("all were asked for");
                shape(account, batch.partition.partition, event, *amount);
                *last = index;
            }
        }
        let write = |(id, (account, event)): (&str, (Option<Account>, usize))| DocumentWrite {
            key: DocumentKey {
                view,
                id: id.into(),
            },
            event,
            body: account.map(|mut account| {
                account.sum += i64::from(&*self.hash == OTHER);
                let bson = account.body();
                let encoded = Bytes::copy_from_slice(bson.as_bytes());
                Body { encoded, bson }
            }),
        };
        Ok(accounts.into_iter().map(write).collect())
    }
}

impl Projector for Ledger {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn plugin_hash(&self) -> &Arc<str> {
        &self.hash
    }

    fn project(
        &mut self,
        batch: Batch<'_>,
        mut documents: Box<dyn Documents>,
    ) -> Result<Output, Error> {
        let partition = batch.partition.partition;
        self.troubles.wait(&self.hash, batch, &self.journal);
        if let Some(mut fault) = self.troubles.of(&self.hash, batch) {
            self.journal.note(Entry::Faulted(partition));
            // A plugin may say what the others came to, and need not.
            if fault.kind == FaultKind::Rejected && batch.events[0].offset.0 % 2 == 0 {
                fault.rest = self.rest(batch, &fault, &mut *documents)?;
            }
            return Err(fault.into());
        }
        let writes = self.fold_views(batch, &mut *documents)?;
        let first = batch.events.first().expect("no batch is empty").offset.0;
        let last = batch.events.last().expect("no batch is empty").offset.0;
        self.journal.note(Entry::Folded(partition, first, last));
        Ok(Output {
            writes,
            ..Output::default()
        })
    }
}
