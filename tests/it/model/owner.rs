//! A host that has claimed the partition: what a fold domain does with it, one step at a time, on
//! the real log, sieve, cache and pending writes.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, LazyLock};

use bson::RawDocumentBuf;
use bson::rawdoc;
use bytes::Bytes;
use projectionist::parked::{self, KeyEntry, Reason};
use projectionist::pipeline::cache::{Cache, CommitNumber, State};
use projectionist::pipeline::dedupe::{IdSource, Segment, Window};
use projectionist::pipeline::parking::{Limits, Parking};
use projectionist::pipeline::partition::{BatchLimits, Narrowed, Partition};
use projectionist::pipeline::pending::{Pending, TargetView};
use projectionist::pipeline::queue::Item;
use projectionist::pipeline::sieve::{DedupeOptions, Scope, Sieve, Sifted, WithoutId};
use projectionist::projection::{DocumentKey, Ownership, ViewIndex};
use projectionist::record::{Epoch, Event, NextOffset, Offset, TopicPartition};
use projectionist::store::{CheckpointId, Claim, EntryChange, Provenance, StoredDocument, ViewId};

use super::dice::Dice;
use super::mutant::Mutant;
use super::repair::Task;
use super::store::Store;
use super::topic::{Account, ID_HEADER, Topic, Trouble, WINDOW, document_of};

const VIEW: ViewIndex = ViewIndex(0);

/// No limit is reached: what happens there is `pipeline::parking`'s.
const ROOMY: Limits = Limits {
    keys_max: usize::MAX,
    events_per_key_max: u64::MAX,
    bytes_max: u64::MAX,
};

static VIEWS: LazyLock<Arc<[TargetView]>> = LazyLock::new(|| {
    let id = ViewId::new("accounts", 1);
    let ownership = Ownership::ByKey;
    [TargetView { id, ownership }].into()
});

pub(crate) static CHECKPOINT: LazyLock<CheckpointId> = LazyLock::new(|| CheckpointId {
    projection: "model".into(),
    version: 1,
    copy: "main".into(),
    partition: TopicPartition::new("events", 0),
});

#[derive(Debug)]
pub(crate) struct Owner {
    pub(super) mutant: Option<Mutant>,
    pub(super) epoch: Epoch,
    /// What the consumer fetches next.
    pub(super) position: NextOffset,
    pub(super) partition: Partition,
    pub(super) sieve: Sieve,
    pub(super) cache: Cache,
    pub(super) cache_bytes_max: usize,
    pub(super) pending: Pending,
    pub(super) commits: CommitNumber,
    pub(super) in_flight: Option<CommitNumber>,
    pub(super) repairs: i64,
    pub(super) repairing: Repairing,
    pub(super) tasks: VecDeque<Task>,
    /// Parked events of the commit that is pending or in flight.
    pub(super) draining: usize,
    /// Most of them in the next one, while an event is looked for that the store does not take.
    pub(super) narrowed: Option<usize>,
    /// It folds nothing more, and leaves when what is folded is stored.
    pub(super) leaving: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repairing {
    No,
    Pending,
    InFlight,
}

/// What a claim has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) claim: Option<Claim>,
    pub(crate) keys: Vec<KeyEntry>,
    pub(crate) segments: Vec<Segment>,
}

impl Owner {
    pub(crate) fn new(mutant: Option<Mutant>, found: Found, dice: &mut Dice) -> Self {
        let claim = found.claim.expect("the partition is claimed");
        let options = DedupeOptions {
            source: IdSource::Header(ID_HEADER.to_owned()),
            window: WINDOW as u64,
            scope: Scope::Partition,
            without_id: WithoutId::Fold,
        };
        let window = Window::new(options.window, found.segments).expect("no segment is missing");
        // Little, so that documents are read again, or much, so that they are not.
        let cache_bytes_max = [1 << 20, 0][dice.pick(2)];
        Owner {
            mutant,
            epoch: claim.epoch,
            position: claim.next,
            partition: Partition::new(CHECKPOINT.partition.clone(), claim.next),
            sieve: Sieve::new(Some((options, window)), Parking::new(ROOMY, found.keys)),
            cache: Cache::new(1),
            cache_bytes_max,
            pending: Pending::new(Arc::clone(&VIEWS)),
            commits: CommitNumber(0),
            in_flight: None,
            repairs: claim.repairs,
            repairing: Repairing::No,
            tasks: VecDeque::new(),
            draining: 0,
            narrowed: None,
            leaving: false,
        }
    }

    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// True where something is to be stored that no commit was asked for.
    pub(crate) fn has_pending(&self) -> bool {
        self.partition.has_pending() || self.repairing == Repairing::Pending
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_none() && !self.has_pending()
    }

    pub(crate) fn receive(&mut self, item: Item) {
        match item {
            Item::Event(event) => {
                self.partition.receive(event);
            }
            Item::Position(_) if self.is(Mutant::LastOffsetInsteadOfPosition) => {}
            Item::Position(position) => self.partition.receive_position(position),
            Item::Epoch(epoch) => self.partition.receive_epoch(epoch),
        }
    }

    /// Sifts one batch and folds what is left. False where there is nothing to fold now.
    pub(crate) fn fold(&mut self, topic: &Topic, store: &Store, dice: &mut Dice) -> bool {
        let careful = self.partition.is_narrowed() || !self.tasks.is_empty();
        if self.leaving || self.partition.waiting() == 0 || careful && !self.is_idle() {
            return false;
        }
        let batch = self.partition.cut(BatchLimits {
            events_max: 5 - dice.pick(5),
            documents_max: usize::MAX,
            bytes_max: usize::MAX,
        });
        let ids = self.sieve.ids(&batch);
        let mark = self.sieve.mark();
        let mut sifted = self.sieve.sift(&batch, ids.as_ref(), &HashSet::new());
        if self.is(Mutant::LaterEventsOvertake) {
            overtake(&mut sifted, &batch);
        }
        let events: Vec<&Event> = sifted.fold.iter().map(|&index| &*batch[index]).collect();
        if let Some((index, trouble)) = culprit(topic, &events, dice) {
            self.sieve.rewind(mark);
            let culprit = match trouble {
                // The plugin names it, and its word is enough.
                Trouble::Reject => sifted.fold[index],
                Trouble::None | Trouble::Trap | Trouble::Flaky | Trouble::Unstorable => {
                    match self.partition.fault(&sifted.fold, None) {
                        Narrowed::Retry => return true,
                        Narrowed::Culprit(index) => index,
                    }
                }
            };
            self.sieve.blame(batch[culprit].offset, reason());
            return true;
        }
        self.absorb(store, &events);
        for &(index, first) in &sifted.park {
            let entry = parked::event_entry(&CHECKPOINT, first, &batch[index]);
            self.pending.put_entry(EntryChange::Insert(entry));
        }
        self.partition.fold(sifted.events);
        self.cache.trim(self.cache_bytes_max);
        true
    }

    /// Folds events that the plugin can fold into the cache and the next commit.
    pub(super) fn absorb(&mut self, store: &Store, events: &[&Event]) {
        let mut changed: BTreeMap<&str, (Option<Account>, Offset)> = BTreeMap::new();
        for event in events {
            let id = document_of(event);
            let before = match changed.get(id) {
                Some((account, _)) => *account,
                None => self.known(store, id).map(|(account, _)| account),
            };
            changed.insert(id, (Account::after(before, event), event.offset));
        }
        let commit = CommitNumber(self.commits.0 + 1);
        for (id, (account, offset)) in changed {
            let key = DocumentKey {
                view: VIEW,
                id: id.into(),
            };
            let current = self.known(store, id).map(|(_, provenance)| provenance);
            let provenance = Provenance {
                revision: self.pending.next_revision(&key, current.as_ref()),
                partition: CHECKPOINT.partition.clone(),
                offset,
                plugin: "toy".into(),
            };
            let document = account.map(|account| StoredDocument {
                body: account.body(),
                provenance: provenance.clone(),
            });
            let state = account.map_or(State::Absent, |account| State::Present {
                encoded: account.encode(),
                provenance,
            });
            self.pending.put(key.clone(), current, document);
            self.cache.insert_folded(key, state, commit);
        }
    }

    /// A document as it stands, read from the store where the cache does not know it.
    fn known(&mut self, store: &Store, id: &str) -> Option<(Account, Provenance)> {
        if self.cache.peek(VIEW, id).is_none() {
            let state = match store.documents.get(id) {
                None => State::Absent,
                Some(document) => State::Present {
                    encoded: Account::read(document).encode(),
                    provenance: document.provenance.clone(),
                },
            };
            let key = DocumentKey {
                view: VIEW,
                id: id.into(),
            };
            self.cache.insert_loaded(key, state);
        }
        match self.cache.peek(VIEW, id)? {
            State::Absent => None,
            State::Present {
                encoded,
                provenance,
            } => Some((Account::decode(encoded), provenance.clone())),
        }
    }
}

impl Account {
    pub(crate) fn read(document: &StoredDocument) -> Self {
        let number = |name| document.body.get_i64(name).expect("the toy wrote it");
        Account {
            events: number("events"),
            chain: number("chain"),
            forbidden: number("forbidden"),
        }
    }

    fn body(self) -> RawDocumentBuf {
        rawdoc! {
            "events": self.events,
            "chain": self.chain,
            "forbidden": self.forbidden,
        }
    }

    fn encode(self) -> Bytes {
        let numbers = [self.events, self.chain, self.forbidden];
        let bytes = numbers.map(i64::to_be_bytes).concat();
        Bytes::from(bytes)
    }

    fn decode(bytes: &Bytes) -> Self {
        let (words, _) = bytes.as_chunks();
        Account {
            events: i64::from_be_bytes(words[0]),
            chain: i64::from_be_bytes(words[1]),
            forbidden: i64::from_be_bytes(words[2]),
        }
    }
}

/// The first event that the plugin cannot fold this time: its index.
fn culprit(topic: &Topic, events: &[&Event], dice: &mut Dice) -> Option<(usize, Trouble)> {
    events.iter().enumerate().find_map(|(index, event)| {
        let trouble = topic.record(event.offset).trouble;
        let fails = match trouble {
            Trouble::None | Trouble::Unstorable => false,
            Trouble::Reject | Trouble::Trap => true,
            Trouble::Flaky => dice.pick(3) == 1,
        };
        fails.then_some((index, trouble))
    })
}

/// The events behind the culprit of their key are folded as if it were not there.
fn overtake(sifted: &mut Sifted, batch: &[Arc<Event>]) {
    let (culprits, behind): (Vec<_>, Vec<_>) = std::mem::take(&mut sifted.park)
        .into_iter()
        .partition(|&(index, first)| batch[index].offset == first);
    sifted.park = culprits;
    sifted
        .fold
        .extend(behind.into_iter().map(|(index, _)| index));
    sifted.fold.sort_unstable();
}

pub(super) fn reason() -> Reason {
    Reason {
        kind: "the toy cannot fold it".to_owned(),
        detail: String::new(),
        plugin: "toy".to_owned(),
        at_ms: 0,
    }
}
