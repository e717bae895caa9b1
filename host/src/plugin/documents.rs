//! The host's side of `get-many`: what a plugin may read, and how much.

use crate::projection::{Descriptor, Documents, HostError, ViewIndex};

use super::bindings::Column;
use super::columns;
use super::fault::{Misuse, ReadFailed};
use super::limits::{Limits, SpaceLimit};

/// The documents that a plugin can see during one call of `project`.
pub(super) struct Reader {
    documents: Box<dyn Documents>,
    views: usize,
    ids_max: usize,
    ids_asked: usize,
    bytes_max: usize,
}

impl Reader {
    pub(super) fn new(
        documents: Box<dyn Documents>,
        descriptor: &Descriptor,
        limits: &Limits,
        events: usize,
    ) -> Self {
        Reader {
            documents,
            views: descriptor.views.len(),
            ids_max: limits.documents(events),
            ids_asked: 0,
            bytes_max: limits.memory_bytes_max,
        }
    }

    /// An error ends the guest's call; `fault::ended` takes it apart again.
    pub(super) fn get_many(&mut self, view: u32, ids: &Column) -> wasmtime::Result<Column> {
        if view as usize >= self.views {
            return Err(misuse(format!(
                "view {view} is not one of its {}",
                self.views
            )));
        }
        let ids = columns::split(ids)
            .map_err(|problem| misuse(format!("the list of ids is malformed: {problem}")))?;
        let ids = ids
            .iter()
            .map(|id| id.and_then(|id| std::str::from_utf8(id).ok()))
            .collect::<Option<Vec<&str>>>()
            .ok_or_else(|| misuse("an id is missing or no UTF-8".to_owned()))?;

        self.ids_asked = self.ids_asked.saturating_add(ids.len());
        if self.ids_asked > self.ids_max {
            return Err(misuse(format!(
                "it wants {} documents for this batch, and may have {}",
                self.ids_asked, self.ids_max
            )));
        }
        if ids.is_empty() {
            return Ok(columns::join(std::iter::empty()));
        }
        self.read(ViewIndex(view), &ids)
    }

    fn read(&mut self, view: ViewIndex, ids: &[&str]) -> wasmtime::Result<Column> {
        let found = self.documents.get_many(view, ids).map_err(ReadFailed)?;
        if found.len() != ids.len() {
            let problem = format!("{} documents for {} ids", found.len(), ids.len());
            return Err(ReadFailed(HostError::Documents(problem.into())).into());
        }
        let bytes = found
            .iter()
            .flatten()
            .fold(0_usize, |sum, document| sum.saturating_add(document.len()));
        if bytes > self.bytes_max {
            let limit = self.bytes_max;
            return Err(SpaceLimit::Memory {
                wanted: bytes,
                limit,
            }
            .into());
        }
        Ok(columns::join(found.iter().map(Option::as_deref)))
    }
}

fn misuse(problem: String) -> wasmtime::Error {
    Misuse(format!("get-many: {problem}")).into()
}
