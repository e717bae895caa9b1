//! A store in memory with the contract of [`projectionist::store::Store`], for one partition.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use projectionist::projection::DocumentId;
use projectionist::record::{Epoch, NextOffset, Offset};
use projectionist::store::{
    Advance, Change, Claim, Commit, Entry, EntryChange, Guard, StoredDocument, Table, Write,
};

use super::mutant::Mutant;
use super::topic::Account;

#[derive(Debug)]
pub(crate) struct Store {
    mutant: Option<Mutant>,
    /// Whether a rule forbids some documents.
    pub(crate) forbids: bool,
    pub(crate) checkpoint: Claim,
    pub(crate) documents: BTreeMap<DocumentId, StoredDocument>,
    entries: BTreeMap<(Table, Arc<str>), Entry>,
}

/// What is stored at once.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Transaction(Commit),
    /// Outside of any transaction, whatever is there already. Only mutants do this.
    Loose(Vec<Write>, Vec<EntryChange>),
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored,
    Fenced,
    /// A document or an entry is not as the writer knows it.
    Mismatch(String),
    TooLarge,
    /// A document that this event shaped last is none that the store takes.
    Rejected(Offset),
}

impl Store {
    pub(crate) fn new(mutant: Option<Mutant>) -> Self {
        Store {
            mutant,
            forbids: true,
            checkpoint: Claim {
                epoch: Epoch(0),
                next: NextOffset::ZERO,
                repairs: 0,
            },
            documents: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }

    pub(crate) fn claim(&mut self) -> Claim {
        if self.mutant != Some(Mutant::EpochNotRaised) {
            self.checkpoint.epoch.0 += 1;
        }
        self.checkpoint
    }

    /// Stores one part. The answer to a transaction that is stored already is the same.
    pub(crate) fn store(&mut self, part: &Part) -> Outcome {
        match part {
            Part::Transaction(commit) => self.commit(commit),
            Part::Loose(writes, entries) => {
                self.apply(writes, entries);
                Outcome::Stored
            }
        }
    }

    fn commit(&mut self, commit: &Commit) -> Outcome {
        let [advance] = commit.advances.as_slice() else {
            panic!("there is one partition, and a commit moves it");
        };
        let (before, after) = ends(advance);
        if before != after && self.checkpoint == after {
            return Outcome::Stored;
        }
        if !self.matches(before) {
            return Outcome::Fenced;
        }
        if let Some(mismatch) = self.mismatch(commit) {
            return Outcome::Mismatch(mismatch);
        }
        if let Some(offset) = self.rejected(&commit.writes) {
            return Outcome::Rejected(offset);
        }
        self.apply(&commit.writes, &commit.entries);
        self.checkpoint.next = after.next;
        self.checkpoint.repairs = after.repairs;
        Outcome::Stored
    }

    /// The filter of a commit's checkpoint.
    fn matches(&self, claim: Claim) -> bool {
        let any_epoch = self.mutant == Some(Mutant::NoEpochInTheFilter);
        let any_position = self.mutant == Some(Mutant::NoCompareAndSet);
        (any_epoch || self.checkpoint.epoch == claim.epoch)
            && (any_position || self.checkpoint.next == claim.next)
            && self.checkpoint.repairs == claim.repairs
    }

    fn mismatch(&self, commit: &Commit) -> Option<String> {
        for Write { id, change, .. } in &commit.writes {
            let stored = self.documents.get(id);
            let matches = match change {
                Change::Insert(_) => stored.is_none(),
                Change::Update { guard, .. } | Change::Delete { guard } => {
                    assert_eq!(*guard, Guard::SoleWriter, "the view is by-key");
                    stored.is_some()
                }
            };
            if !matches {
                return Some(format!("document {id:?}: {change:?} over {stored:?}"));
            }
        }
        for change in &commit.entries {
            let exists = self.entry(change.table(), change.id()).is_some();
            if exists == matches!(change, EntryChange::Insert(_)) {
                return Some(format!("entry: {change:?}, and there is one: {exists}"));
            }
        }
        None
    }

    fn rejected(&self, writes: &[Write]) -> Option<Offset> {
        writes.iter().find_map(|write| match &write.change {
            Change::Insert(document) | Change::Update { document, .. } => {
                let forbidden = self.forbids && Account::read(document).forbidden > 0;
                forbidden.then_some(document.provenance.offset)
            }
            Change::Delete { .. } => None,
        })
    }

    fn apply(&mut self, writes: &[Write], entries: &[EntryChange]) {
        for Write { id, change, .. } in writes {
            match change {
                Change::Insert(document) | Change::Update { document, .. } => {
                    self.documents.insert(Arc::clone(id), document.clone());
                }
                Change::Delete { .. } => {
                    self.documents.remove(id);
                }
            }
        }
        for change in entries {
            match change.entry() {
                Some(entry) => self.put_entry(entry.clone()),
                None => self.remove_entry(change.table(), change.id()),
            }
        }
    }

    pub(crate) fn entry(&self, table: Table, id: &Arc<str>) -> Option<&Entry> {
        self.entries.get(&(table, Arc::clone(id)))
    }

    /// The entries of a table whose ids start so.
    pub(crate) fn entries<'a>(
        &'a self,
        table: Table,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Entry> {
        let first = Bound::Included((table, Arc::from(prefix)));
        let found = self.entries.range((first, Bound::Unbounded));
        let found = found.map(|(_, entry)| entry);
        found.take_while(move |entry| entry.table == table && entry.id.starts_with(prefix))
    }

    pub(crate) fn put_entry(&mut self, entry: Entry) {
        self.entries
            .insert((entry.table, Arc::clone(&entry.id)), entry);
    }

    pub(crate) fn remove_entry(&mut self, table: Table, id: &Arc<str>) {
        self.entries.remove(&(table, Arc::clone(id)));
    }
}

/// The checkpoint before a commit and after it.
fn ends(advance: &Advance) -> (Claim, Claim) {
    let claim = |next, repairs| Claim {
        epoch: advance.epoch,
        next,
        repairs,
    };
    (
        claim(advance.from, advance.repairs.from),
        claim(advance.to, advance.repairs.to),
    )
}
