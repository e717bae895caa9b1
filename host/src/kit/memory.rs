//! The documents of a desk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use crate::projection::{
    Body, DocumentId, DocumentKey, DocumentWrite, Documents, HostError, ViewIndex,
};

/// Shared with the reader that each call of the plugin gets.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<BTreeMap<DocumentKey, Body>>>);

impl Memory {
    pub(super) fn put(&self, writes: Vec<DocumentWrite>) {
        let mut documents = self.lock();
        for DocumentWrite { key, body, .. } in writes {
            match body {
                Some(body) => documents.insert(key, body),
                None => documents.remove(&key),
            };
        }
    }

    /// All of them, in the order of their views and ids.
    pub(super) fn all(&self) -> Vec<(DocumentKey, Body)> {
        let documents = self.lock();
        documents
            .iter()
            .map(|(key, body)| (key.clone(), body.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DocumentKey, Body>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Documents for Memory {
    fn get_many(
        &mut self,
        view: ViewIndex,
        ids: &[&str],
        _bytes_max: usize,
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError> {
        let documents = self.lock();
        let find = |id: &&str| {
            let id = DocumentId::from(*id);
            let found = documents.get(&DocumentKey { view, id });
            found.map(|body| body.encoded.clone())
        };
        Ok(Some(ids.iter().map(find).collect()))
    }
}
