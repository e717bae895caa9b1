//! The log of changes: who asked for what, when and from where, and what came of it.
//!
//! In `_changes` of the first store, so that every host shows the same. Each is a line of the
//! host's own log, too.
//!
//! Guarantees:
//! - Changes are only added; no host alters or removes one.
//! - Those of one host come in the order in which it recorded them; between hosts their clocks
//!   decide.
//!
//! Not here: who is sent away before anything is looked at, for want of a token, a role or a place.
//! A change that the store did not take is in the host's log only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use crate::store::{self, Entry, Store, Table};
use crate::telemetry::health::describe;

/// Where changes are recorded. Cloning it shares it.
#[derive(Clone)]
pub struct Changes {
    store: Arc<dyn Store>,
    host: Arc<str>,
    /// When this host recorded its last, in microseconds of Unix time.
    newest: Arc<AtomicU64>,
}

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// The name of a token, or of a user.
    pub by: String,
    /// An address, or "command line".
    pub from: String,
    /// Such as "upload".
    pub action: String,
    /// What it is done to: a plugin, a parked key, a projection.
    pub subject: String,
    /// What else was said, such as a reason; may be empty.
    pub detail: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    Done,
    /// What was asked for cannot be done, and nothing has changed.
    Refused {
        reason: String,
    },
    /// The host or a store failed, and something may have changed.
    Failed {
        reason: String,
    },
}

/// A deed as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The newest come first in the order of these.
    pub id: String,
    /// Unix time.
    pub at_ms: i64,
    /// The host that was asked.
    pub host: String,
    #[serde(flatten)]
    pub deed: Deed,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("entry \"{id}\" of {table} cannot be read: {message}", table = Table::Changes)]
    Unreadable { id: Arc<str>, message: String },
}

/// Users may write long reasons.
const TEXT_CHARS_MAX: usize = 1_000;

impl Changes {
    /// `host` is this host's name.
    pub fn new(store: Arc<dyn Store>, host: &str) -> Self {
        Changes {
            store,
            host: host.into(),
            newest: Arc::default(),
        }
    }

    /// Records what was asked for and what came of it. Where the store does not take it, the
    /// host's log says so: what is done is done.
    pub async fn record(&self, deed: Deed, outcome: Outcome) {
        let change = self.change(deed, outcome);
        change.log();
        if let Err(error) = self.store.put_entry(&change.to_entry()).await {
            let error = describe(&error);
            error!(
                error,
                id = change.id,
                "a change is not recorded in the store"
            );
        }
    }

    /// The newest changes, at most `limit`; of those that are older than the one with this id.
    pub async fn list(&self, older_than: Option<&str>, limit: usize) -> Result<Vec<Change>, Error> {
        let mut changes: Vec<Change> = Vec::new();
        while changes.len() < limit {
            let last = changes.last().map(|change| change.id.as_str());
            let left = limit - changes.len();
            let page = self
                .store
                .entries(Table::Changes, "", last.or(older_than), left)
                .await?;
            if page.is_empty() {
                break;
            }
            for entry in &page {
                changes.push(Change::from_entry(entry)?);
            }
        }
        Ok(changes)
    }

    fn change(&self, deed: Deed, outcome: Outcome) -> Change {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        // Later than the last one, also where the clock has been put back.
        let after = |newest: u64| Some(now.max(newest.saturating_add(1)));
        let newest = self
            .newest
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        let at = now.max(newest.expect("there is always a next").saturating_add(1));
        Change {
            // Two hosts may record at the same moment.
            id: format!("{:016x}-{:08x}", u64::MAX - at, rand::random::<u32>()),
            at_ms: i64::try_from(at / 1_000).unwrap_or(i64::MAX),
            host: self.host.to_string(),
            deed: deed.clipped(),
            outcome: outcome.clipped(),
        }
    }
}

impl Change {
    fn log(&self) {
        let Deed {
            by,
            from,
            action,
            subject,
            detail,
        } = &self.deed;
        match &self.outcome {
            Outcome::Done => info!(by, from, action, subject, detail, "changed"),
            Outcome::Refused { reason } => {
                warn!(
                    by,
                    from, action, subject, detail, reason, "a change was refused"
                );
            }
            Outcome::Failed { reason } => {
                error!(by, from, action, subject, detail, reason, "a change failed");
            }
        }
    }

    fn to_entry(&self) -> Entry {
        Entry {
            table: Table::Changes,
            id: self.id.as_str().into(),
            body: bson::serialize_to_raw_document_buf(self).expect("it is texts and a number"),
        }
    }

    fn from_entry(entry: &Entry) -> Result<Self, Error> {
        let change = bson::deserialize_from_slice(entry.body.as_bytes());
        change.map_err(|error| Error::Unreadable {
            id: Arc::clone(&entry.id),
            message: error.to_string(),
        })
    }
}

impl Deed {
    fn clipped(self) -> Self {
        Deed {
            by: clip(self.by),
            from: clip(self.from),
            action: clip(self.action),
            subject: clip(self.subject),
            detail: clip(self.detail),
        }
    }
}

impl Outcome {
    fn clipped(self) -> Self {
        match self {
            Outcome::Done => Outcome::Done,
            Outcome::Refused { reason } => Outcome::Refused {
                reason: clip(reason),
            },
            Outcome::Failed { reason } => Outcome::Failed {
                reason: clip(reason),
            },
        }
    }
}

fn clip(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Error {
    /// True where the store did not answer, so that asking again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Store(error) if error.is_transient())
    }
}
