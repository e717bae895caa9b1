//! The host's side of `get-many`: what a plugin may read, and how much.
//!
//! Guarantee: counts and lengths are looked at before anything is made of them, and whatever is
//! made is charged before. The time that a store takes is left out of the plugin's; the rest is
//! its own.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::projection::{Descriptor, Documents, Held, HostError, ViewIndex};

use super::bindings::Column;
use super::clock::thread_time;
use super::columns;
use super::fault::{Misuse, ReadFailed};
use super::limits::{ANSWER_BYTES_MAX, Limits, READ_BYTES_MAX, SpaceLimit};
use super::purse::Purse;

/// What a call may read from a store where nothing is known of how much it wants.
const READ_BYTES_FIRST: usize = 1 << 20;

/// In so many steps, each of which reads again what the one before has read.
const READ_GROWTH: usize = 8;

/// What is kept of a document that was asked for, beside its id and itself: it may become known to
/// the cache, and whether it exists.
const ENTRY_BYTES: usize = 320;

/// What is needed for an id while its document is looked for.
const LOOK_BYTES: usize = 128;

/// Of what is kept of all documents that a call asks for, beside the documents themselves.
pub(super) const ASKED_BYTES_MAX: usize = 64 << 20;

/// No stored document has a longer id (`output`).
const ID_BYTES_MAX: usize = 1024;

/// The documents that a plugin can see during one call of `project`.
pub(super) struct Reader {
    documents: Box<dyn Documents>,
    views: usize,
    ids_max: usize,
    ids_asked: usize,
    /// What the ids take that were asked for.
    asked: usize,
    /// What has been charged of the call for documents from a store, and how much of it is for the
    /// documents themselves.
    charged: usize,
    /// Of all that the call reads from a store.
    read_max: usize,
    /// What the last call has needed.
    read_first: usize,
    pub(super) waited: Waited,
}

/// How long a call has waited for documents.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waited {
    pub(super) wall: Duration,
    /// Of the thread, on a processor.
    pub(super) thread: Duration,
}

impl Reader {
    pub(super) fn new(
        documents: Box<dyn Documents>,
        descriptor: &Descriptor,
        limits: &Limits,
        events: usize,
        read_first: usize,
    ) -> Self {
        Reader {
            documents,
            views: descriptor.views.len(),
            ids_max: limits.documents(events),
            ids_asked: 0,
            asked: 0,
            charged: 0,
            read_max: 0,
            read_first: read_first.max(READ_BYTES_FIRST),
            waited: Waited::default(),
        }
    }

    /// Checks how much is asked for, before it is looked at.
    pub(super) fn ask(
        &mut self,
        view: u32,
        ids: usize,
        bytes: usize,
        purse: &mut Purse,
    ) -> wasmtime::Result<()> {
        if view as usize >= self.views {
            return Err(misuse(format!(
                "view {view} is not one of its {}",
                self.views
            )));
        }
        self.ids_asked = self.ids_asked.saturating_add(ids);
        if self.ids_asked > self.ids_max {
            return Err(misuse(format!(
                "it wants {} documents for this batch, and may have {}",
                self.ids_asked, self.ids_max
            )));
        }
        let of_ids = bytes.min(ids.saturating_mul(ID_BYTES_MAX));
        let kept = ids.saturating_mul(ENTRY_BYTES).saturating_add(of_ids);
        self.asked = self.asked.saturating_add(kept);
        if self.asked > ASKED_BYTES_MAX {
            return Err(too_much(self.asked, ASKED_BYTES_MAX));
        }
        purse.take(kept)?;
        self.charged += kept;
        purse.pass(ids.saturating_mul(LOOK_BYTES))?;
        Ok(())
    }

    /// Answers what was asked for. An error ends the guest's call; `fault::ended` takes it apart
    /// again.
    pub(super) fn get_many(
        &mut self,
        view: u32,
        bytes: &[u8],
        ends: &[u32],
        purse: &mut Purse,
    ) -> wasmtime::Result<Column> {
        let ids = columns::cut(bytes, ends)
            .map(|id| {
                let id = id.map_err(|problem| {
                    misuse(format!("the list of ids is malformed: {problem}"))
                })?;
                std::str::from_utf8(id).map_err(|_| no_text())
            })
            .collect::<wasmtime::Result<Vec<&str>>>()?;
        if ids.is_empty() {
            return Ok(columns::join(std::iter::empty()));
        }
        let found = self.find(ViewIndex(view), &ids, purse)?;
        // A document that was asked for twice is there once, and twice in the answer.
        let documents = found.iter().flatten();
        let bytes = documents.fold(0_usize, |sum, document| sum.saturating_add(document.len()));
        if bytes > ANSWER_BYTES_MAX {
            return Err(too_much(bytes, ANSWER_BYTES_MAX));
        }
        purse.pass(bytes + ids.len() * LOOK_BYTES)?;
        Ok(columns::join(found.iter().map(Option::as_deref)))
    }

    /// No document has an id that is too long; a store is not asked for it.
    fn find(
        &mut self,
        view: ViewIndex,
        ids: &[&str],
        purse: &mut Purse,
    ) -> wasmtime::Result<Vec<Option<Bytes>>> {
        let fits = |id: &&str| id.len() <= ID_BYTES_MAX;
        if ids.iter().all(fits) {
            return self.read(view, ids, purse);
        }
        let fitting: Vec<&str> = ids.iter().copied().filter(fits).collect();
        let mut found = self.read(view, &fitting, purse)?.into_iter();
        let found = ids.iter().map(|id| match fits(id) {
            true => found.next().flatten(),
            false => None,
        });
        Ok(found.collect())
    }

    fn read(
        &mut self,
        view: ViewIndex,
        ids: &[&str],
        purse: &mut Purse,
    ) -> wasmtime::Result<Vec<Option<Bytes>>> {
        loop {
            // Each stored document is there twice while it is turned into what the plugin reads.
            purse.pass(self.read_max.saturating_add(ids.len() * LOOK_BYTES))?;
            let found = self.read_within(view, ids).map_err(ReadFailed)?;
            if let Some(found) = found {
                if found.len() != ids.len() {
                    let problem = format!("{} documents for {} ids", found.len(), ids.len());
                    return Err(ReadFailed(HostError::Documents(problem.into())).into());
                }
                return Ok(found);
            }
            let more = match self.read_max {
                0 => self.read_first,
                READ_BYTES_MAX => return Err(too_much(READ_BYTES_MAX + 1, READ_BYTES_MAX)),
                bytes => bytes.saturating_mul(READ_GROWTH).min(READ_BYTES_MAX),
            };
            purse.take(more - self.read_max)?;
            self.charged += more - self.read_max;
            self.read_max = more;
        }
    }

    fn read_within(
        &mut self,
        view: ViewIndex,
        ids: &[&str],
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError> {
        let (start, thread_start) = (Instant::now(), thread_time());
        let found = self.documents.get_many(view, ids, self.read_max);
        self.waited.wall += start.elapsed();
        self.waited.thread += thread_time().saturating_sub(thread_start);
        found
    }

    /// What this call has needed of a store, for the next one.
    pub(super) fn read_max(&self) -> usize {
        self.read_max
    }

    /// The call is over. What it has read outlives it for a while.
    pub(super) fn end(mut self, purse: &mut Purse) -> Box<dyn Documents> {
        if self.charged > 0 {
            self.documents.hold(Held::new(purse.split(self.charged)));
        }
        self.documents
    }
}

pub(super) fn no_text() -> wasmtime::Error {
    misuse("an id is missing or no UTF-8".to_owned())
}

fn too_much(wanted: usize, limit: usize) -> wasmtime::Error {
    SpaceLimit::Documents { wanted, limit }.into()
}

fn misuse(problem: String) -> wasmtime::Error {
    Misuse(format!("get-many: {problem}")).into()
}
