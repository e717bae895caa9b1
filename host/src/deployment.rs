//! Which plugin a projection runs: one revision after the other, in its store, so that all hosts
//! of its group run the same. A balancer's policy is deployed in the same way, and `projection` is
//! its name then (`app::policies`).
//!
//! In `_deployments`:
//! - `revision/{projection}/{number}`: one entry a revision, never changed. A revision is added only
//!   where its number is free, so of two who decide at once one is told to look again.
//! - `report/{projection}/{number}/{host}`: what a host found out about the candidate of a revision.
//!
//! Guarantees:
//! - The plugin file that the configuration names is the first revision. Another file there, at a
//!   later start, is a revision like any other: the newest decision counts, whether it was made in
//!   a file or by a command.
//! - A rollback goes back to what ran before the newest activation; another one goes further.
//!
//! Not here: the plugins themselves (`registry`), how a host changes over (`pipeline`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::pipeline::shadow::Report;
use crate::store::{self, Entry, Store, Table, User, all_entries, apart};
use crate::unix_time::now_ms;

pub mod desk;

/// How often a decision is made again because another came first.
const RACES_MAX: usize = 20;

/// One decision about what a projection runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// From 1.
    pub number: u64,
    pub change: Change,
    /// The hash of the plugin that folds.
    pub active: String,
    /// The hash of a plugin that folds beside it, and stores nothing.
    pub candidate: Option<String>,
    /// The revision that a rollback returns to.
    pub before: Option<u64>,
    /// The hash of the plugin that was rolled back.
    pub withdrawn: Option<String>,
    /// The hash of the file that the configuration named when a host started last.
    pub configured: String,
    /// Who decided.
    pub by: String,
    /// Unix time.
    pub at_ms: i64,
    /// Why; may be empty.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A host has started with another plugin file than the ones before.
    Configured,
    Activated,
    RolledBack,
    /// A candidate folds from now on, or none does any more.
    Shadowed,
}

/// What is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Activate(String),
    Rollback,
    /// The same, unless something else folds since this revision.
    RollbackFrom(u64),
    /// `None` ends a candidate's time.
    Shadow(Option<String>),
}

/// Who decides, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grounds {
    pub by: String,
    pub reason: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("\"{0}\" has no plugin before the one that runs")]
    NothingBefore(Arc<str>),
    #[error("\"{projection}\" runs plugin {plugin} already")]
    Active {
        projection: Arc<str>,
        plugin: String,
    },
    #[error("\"{0}\" has no candidate")]
    NoCandidate(Arc<str>),
    #[error("\"{0}\" runs something else already")]
    Superseded(Arc<str>),
    #[error("\"{0}\" was never started; start a host with it first")]
    NeverStarted(Arc<str>),
    #[error("too many decide about \"{0}\" at once; try again")]
    Race(Arc<str>),
    #[error("entry \"{id}\" of {table} cannot be read: {message}", table = Table::Deployments)]
    Unreadable { id: String, message: String },
}

/// The revisions of one projection.
#[derive(Clone)]
pub struct Deployments {
    store: Arc<dyn Store>,
    projection: Arc<str>,
}

impl Deployments {
    pub fn new(store: Arc<dyn Store>, projection: Arc<str>) -> Self {
        Deployments { store, projection }
    }

    /// The same as operators use them.
    #[must_use]
    pub fn for_operators(&self) -> Self {
        Deployments::new(
            apart(&self.store, User::Operators),
            Arc::clone(&self.projection),
        )
    }

    /// The revisions after one of this number, oldest first; all, after 0.
    pub async fn after(&self, number: u64) -> Result<Vec<Revision>, Error> {
        let prefix = format!("revision/{}/", self.projection);
        let after = (number > 0).then(|| self.id(number));
        let entries =
            all_entries(&*self.store, Table::Deployments, &prefix, after.as_deref()).await?;
        entries.iter().map(from_entry).collect()
    }

    pub async fn newest(&self) -> Result<Option<Revision>, Error> {
        Ok(self.after(0).await?.pop())
    }

    /// The newest revision, and the one that a rollback returns to, where there is one.
    pub async fn newest_and_before(&self) -> Result<(Revision, Option<Revision>), Error> {
        let history = self.after(0).await?;
        let newest = history.last().cloned();
        let newest = newest.ok_or_else(|| Error::NeverStarted(Arc::clone(&self.projection)))?;
        let before = before(&history, &newest).cloned();
        Ok((newest, before))
    }

    /// What runs as a host starts whose configuration names this plugin.
    pub async fn start(&self, configured: &str, grounds: &Grounds) -> Result<Revision, Error> {
        for _ in 0..RACES_MAX {
            let newest = self.newest().await?;
            if let Some(newest) = &newest
                && newest.configured == configured
            {
                return Ok(newest.clone());
            }
            // What runs already goes on as it is: a rollback must not lead back to the same plugin.
            let runs = newest.as_ref().filter(|newest| newest.active == configured);
            let next = Revision {
                number: newest.as_ref().map_or(1, |newest| newest.number + 1),
                change: Change::Configured,
                active: configured.to_owned(),
                candidate: runs.and_then(|runs| runs.candidate.clone()),
                before: match runs {
                    Some(runs) => runs.before,
                    None => newest.as_ref().map(|newest| newest.number),
                },
                withdrawn: None,
                configured: configured.to_owned(),
                by: grounds.by.clone(),
                at_ms: now_ms(),
                reason: grounds.reason.clone(),
            };
            if self.add(&next).await? {
                return Ok(next);
            }
        }
        Err(Error::Race(Arc::clone(&self.projection)))
    }

    /// Decides what runs from now on.
    pub async fn decide(&self, decision: &Decision, grounds: &Grounds) -> Result<Revision, Error> {
        for _ in 0..RACES_MAX {
            let history = self.after(0).await?;
            let next = self.next(&history, decision, grounds)?;
            if self.add(&next).await? {
                return Ok(next);
            }
        }
        Err(Error::Race(Arc::clone(&self.projection)))
    }

    /// The revision that a decision makes, after all that have been.
    fn next(
        &self,
        history: &[Revision],
        decision: &Decision,
        grounds: &Grounds,
    ) -> Result<Revision, Error> {
        let name = || Arc::clone(&self.projection);
        let newest = history.last().ok_or_else(|| Error::NeverStarted(name()))?;
        let next = Revision {
            number: newest.number + 1,
            withdrawn: None,
            by: grounds.by.clone(),
            at_ms: now_ms(),
            reason: grounds.reason.clone(),
            ..newest.clone()
        };
        Ok(match decision {
            Decision::Activate(plugin) if *plugin == newest.active => {
                return Err(Error::Active {
                    projection: name(),
                    plugin: plugin.clone(),
                });
            }
            Decision::Activate(plugin) => Revision {
                change: Change::Activated,
                active: plugin.clone(),
                candidate: None,
                before: Some(newest.number),
                ..next
            },
            Decision::RollbackFrom(number) if has_changed(history, *number) => {
                return Err(Error::Superseded(name()));
            }
            Decision::Rollback | Decision::RollbackFrom(_) => {
                let target = before(history, newest);
                let target = target.ok_or_else(|| Error::NothingBefore(name()))?;
                Revision {
                    change: Change::RolledBack,
                    active: target.active.clone(),
                    candidate: None,
                    before: target.before,
                    withdrawn: Some(newest.active.clone()),
                    ..next
                }
            }
            Decision::Shadow(Some(plugin)) if *plugin == newest.active => {
                return Err(Error::Active {
                    projection: name(),
                    plugin: plugin.clone(),
                });
            }
            Decision::Shadow(None) if newest.candidate.is_none() => {
                return Err(Error::NoCandidate(name()));
            }
            Decision::Shadow(plugin) => Revision {
                change: Change::Shadowed,
                candidate: plugin.clone(),
                ..next
            },
        })
    }

    /// Keeps what a host found out about the candidate of a revision, instead of what it kept
    /// before.
    pub async fn put_report(
        &self,
        number: u64,
        host: &str,
        report: &Report,
    ) -> Result<(), store::Error> {
        let body = bson::serialize_to_raw_document_buf(report);
        let entry = Entry {
            table: Table::Deployments,
            id: format!("{}{host}", self.reports_prefix(number)).into(),
            body: body.expect("plain data serializes"),
        };
        self.store.put_entry(&entry).await
    }

    /// What all hosts found out about the candidate of a revision.
    pub async fn report(&self, number: u64) -> Result<Report, Error> {
        let prefix = self.reports_prefix(number);
        let mut whole = Report::default();
        for entry in all_entries(&*self.store, Table::Deployments, &prefix, None).await? {
            whole.add(from_entry(&entry)?);
        }
        Ok(whole)
    }

    fn reports_prefix(&self, number: u64) -> String {
        format!("report/{}/{number:010}/", self.projection)
    }

    async fn add(&self, revision: &Revision) -> Result<bool, Error> {
        let body = bson::serialize_to_raw_document_buf(revision);
        let entry = Entry {
            table: Table::Deployments,
            id: self.id(revision.number),
            body: body.expect("plain data serializes"),
        };
        Ok(self.store.add_entry(&entry).await?)
    }

    /// Ids are in the order of their numbers.
    fn id(&self, number: u64) -> Arc<str> {
        format!("revision/{}/{number:010}", self.projection).into()
    }
}

/// What of a store runs a plugin, tries it, or would return to it by a rollback: the first that is
/// found.
pub async fn user(store: &dyn Store, plugin: &str) -> Result<Option<String>, Error> {
    const PREFIX: &str = "revision/";
    let mut histories: BTreeMap<String, Vec<Revision>> = BTreeMap::new();
    for entry in all_entries(store, Table::Deployments, PREFIX, None).await? {
        let of = entry.id.trim_start_matches(PREFIX).rsplit_once('/');
        let of = of.map_or("", |(projection, _)| projection).to_owned();
        histories.entry(of).or_default().push(from_entry(&entry)?);
    }
    let uses = |history: &Vec<Revision>| {
        let Some(newest) = history.last() else {
            return false;
        };
        let mut at = Some(newest);
        while let Some(revision) = at {
            if revision.active == plugin {
                return true;
            }
            at = before(history, revision);
        }
        newest.candidate.as_deref() == Some(plugin) || newest.configured == plugin
    };
    let found = histories.into_iter().find(|(_, history)| uses(history));
    Ok(found.map(|(projection, _)| projection))
}

/// The revision that a rollback from this one returns to.
fn before<'a>(history: &'a [Revision], newest: &Revision) -> Option<&'a Revision> {
    let before = newest.before?;
    history.iter().find(|revision| revision.number == before)
}

/// True where something else folds since a revision.
fn has_changed(history: &[Revision], number: u64) -> bool {
    let at = history.iter().find(|revision| revision.number == number);
    let active = at.map(|revision| &revision.active);
    let mut later = history.iter().filter(|revision| revision.number > number);
    active.is_none() || later.any(|revision| Some(&revision.active) != active)
}

fn from_entry<T: DeserializeOwned>(entry: &Entry) -> Result<T, Error> {
    bson::deserialize_from_slice(entry.body.as_bytes()).map_err(|error| Error::Unreadable {
        id: entry.id.to_string(),
        message: error.to_string(),
    })
}

impl Error {
    /// True where the store did not answer, so that asking again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Store(error) if error.is_transient())
    }
}

#[cfg(test)]
mod tests;
