//! Looks for zombies in the history of the store.
//!
//! A zombie commit is a change of a document or a checkpoint by a host that another one has
//! followed. The final documents need not show it, so the store's whole history is checked: the
//! change stream of the run's database from before its first host to after its last, in which
//! MongoDB tells of every change of the majority, in the order of the oplog, with the session and
//! the number of the transaction that made it.
//!
//! Each claim of a partition names the sessions of its claimer. So of every transaction it must
//! hold that
//! - it moves checkpoints, and each of them forwards;
//! - its session is one of the newest claimer's of each of those checkpoints;
//! - each of its documents was last shaped by an event that lies within a step of those.
//!
//! Whatever changes a document outside of such a transaction is counted, too. An epoch that does
//! not rise by one is a claim that was made without the epoch before.
//!
//! Not here: reading the stream (`store`).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use bson::spec::BinarySubtype;
use bson::{Bson, Document};

/// Where hosts keep their progress.
pub const CHECKPOINTS: &str = "_checkpoints";

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The session's id in hexadecimal digits.
    pub session: String,
    pub transaction: i64,
}

/// One change of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A partition has another owner.
    Claim {
        checkpoint: String,
        epoch: i64,
        /// Absent where the same host claims again.
        sessions: Option<BTreeSet<String>>,
    },
    /// A checkpoint has moved.
    Advance {
        checkpoint: String,
        next: i64,
        author: Option<Author>,
    },
    /// A document was written.
    Write {
        /// The projection whose view it is in, which in the ledger has the view's name.
        projection: String,
        id: String,
        partition: i32,
        offset: i64,
        author: Option<Author>,
    },
}

/// What the history shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub zombie_commits: u64,
    pub claims: u64,
    pub transactions: u64,
    /// The zombies in words.
    pub notes: Vec<String>,
}

/// The newest claim of a checkpoint, and how far it is.
#[derive(Debug, Default)]
struct Owner {
    epoch: i64,
    sessions: BTreeSet<String>,
    next: i64,
}

/// Checks a history.
#[derive(Debug, Default)]
struct Checker {
    owners: BTreeMap<String, Owner>,
    verdict: Verdict,
}

/// Checks a whole history, in its order.
pub fn check(changes: &[Change]) -> Verdict {
    let mut checker = Checker::default();
    // The changes of a transaction follow one another.
    for group in changes.chunk_by(|a, b| author(a).is_some() && author(a) == author(b)) {
        match (&group[0], author(&group[0])) {
            (
                Change::Claim {
                    checkpoint,
                    epoch,
                    sessions,
                },
                _,
            ) => checker.claim(checkpoint, *epoch, sessions.as_ref()),
            (change, None) => checker.zombie(format!("outside of any transaction: {change:?}")),
            (_, Some(author)) => checker.transaction(author, group),
        }
    }
    checker.verdict
}

fn author(change: &Change) -> Option<&Author> {
    match change {
        Change::Claim { .. } => None,
        Change::Advance { author, .. } | Change::Write { author, .. } => author.as_ref(),
    }
}

impl Checker {
    fn claim(&mut self, checkpoint: &str, epoch: i64, sessions: Option<&BTreeSet<String>>) {
        self.verdict.claims += 1;
        let owner = self.owners.entry(checkpoint.to_owned()).or_default();
        let expected = owner.epoch + 1;
        owner.epoch = epoch;
        if let Some(sessions) = sessions {
            owner.sessions.clone_from(sessions);
        }
        if epoch != expected {
            self.zombie(format!(
                "{checkpoint} was claimed with epoch {epoch}, and not {expected}"
            ));
        }
    }

    fn transaction(&mut self, author: &Author, changes: &[Change]) {
        self.verdict.transactions += 1;
        if let Some(wrong) = self.find_wrong(author, changes) {
            self.zombie(format!("{wrong}, by {author:?}"));
        }
        for change in changes {
            if let Change::Advance {
                checkpoint, next, ..
            } = change
            {
                self.owners.entry(checkpoint.clone()).or_default().next = *next;
            }
        }
    }

    /// What is wrong with a transaction.
    fn find_wrong(&self, author: &Author, changes: &[Change]) -> Option<String> {
        let unclaimed = Owner::default();
        let mut steps = BTreeMap::new();
        for change in changes {
            let Change::Advance {
                checkpoint, next, ..
            } = change
            else {
                continue;
            };
            let owner = self.owners.get(checkpoint).unwrap_or(&unclaimed);
            if !owner.sessions.contains(&author.session) {
                return Some(format!(
                    "{checkpoint} went to {next} by another host than its owner of epoch {}",
                    owner.epoch
                ));
            }
            if *next <= owner.next {
                return Some(format!("{checkpoint} went from {} to {next}", owner.next));
            }
            steps.insert(ends(checkpoint), owner.next..*next);
        }
        changes.iter().find_map(|change| match change {
            Change::Write {
                projection,
                id,
                partition,
                offset,
                ..
            } => {
                let step = steps.get(&(projection.as_str(), Some(*partition)));
                let within = step.is_some_and(|step| step.contains(offset));
                (!within).then(|| {
                    format!(
                        "{projection}/{id} was written for offset {offset} of partition \
                         {partition}, which is in none of the steps {steps:?}"
                    )
                })
            }
            Change::Claim { .. } | Change::Advance { .. } => None,
        })
    }

    fn zombie(&mut self, note: String) {
        self.verdict.zombie_commits += 1;
        self.verdict.notes.push(note);
    }
}

/// The projection and the partition in a checkpoint's name.
fn ends(checkpoint: &str) -> (&str, Option<i32>) {
    let projection = checkpoint.split('/').next().unwrap_or_default();
    let partition = checkpoint.rsplit('/').next().unwrap_or_default();
    (projection, partition.parse().ok())
}

/// Reads one event of the change stream of views and checkpoints.
///
/// # Errors
///
/// An event that is not understood: to skip it could be to overlook a zombie.
pub fn read(event: &Document) -> anyhow::Result<Change> {
    let collection = event.get_document("ns")?.get_str("coll")?;
    let id = event
        .get_document("documentKey")?
        .get_str("_id")?
        .to_owned();
    let author = match event.get_document("lsid") {
        Ok(session) => Some(Author {
            session: hexadecimal(session.get("id"))?,
            transaction: event.get_i64("txnNumber")?,
        }),
        Err(_) => None,
    };
    let operation = event.get_str("operationType")?;
    if collection == CHECKPOINTS {
        let fields = match operation {
            "insert" => event.get_document("fullDocument")?,
            "update" => event
                .get_document("updateDescription")?
                .get_document("updatedFields")?,
            _ => anyhow::bail!("a checkpoint saw the operation {operation}: {event}"),
        };
        return checkpoint(id, fields, author);
    }
    let projection = collection.strip_suffix(".v1");
    let projection = projection.with_context(|| format!("{collection} is no view's"))?;
    // No ledger plugin deletes, and the host writes whole documents.
    anyhow::ensure!(
        matches!(operation, "insert" | "replace"),
        "a document saw the operation {operation}: {event}"
    );
    let document = event.get_document("fullDocument")?;
    let at = document.get_document("_m")?.get_document("at")?;
    Ok(Change::Write {
        projection: projection.to_owned(),
        id,
        partition: at.get_i32("partition")?,
        offset: at.get_i64("offset")?,
        author,
    })
}

fn checkpoint(
    checkpoint: String,
    fields: &Document,
    author: Option<Author>,
) -> anyhow::Result<Change> {
    let Ok(epoch) = fields.get_i64("epoch") else {
        let next = fields
            .get_i64("next")
            .with_context(|| format!("{checkpoint} has neither a new epoch nor a new next"))?;
        return Ok(Change::Advance {
            checkpoint,
            next,
            author,
        });
    };
    anyhow::ensure!(
        author.is_none(),
        "{checkpoint} was claimed within a transaction"
    );
    let sessions = match fields.get_array("sessions") {
        Ok(sessions) => {
            let sessions = sessions.iter().map(|session| hexadecimal(Some(session)));
            Some(sessions.collect::<anyhow::Result<BTreeSet<String>>>()?)
        }
        Err(_) => None,
    };
    Ok(Change::Claim {
        checkpoint,
        epoch,
        sessions,
    })
}

fn hexadecimal(id: Option<&Bson>) -> anyhow::Result<String> {
    match id {
        Some(Bson::Binary(id)) if id.subtype == BinarySubtype::Uuid => {
            Ok(id.bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        }
        other => anyhow::bail!("a session's id is {other:?}"),
    }
}

#[cfg(test)]
mod tests;
