//! What a store does not take of a batch, and will not take the next time either.
//!
//! It is about what was to be stored, never about the server, its settings for this user or its
//! state: whoever stores the rest without it gets on.

use std::sync::Arc;

use super::{Table, ViewId};
use crate::projection::DocumentId;

/// Why a store does not take a batch. Nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {message}")]
pub struct Rejection {
    pub address: String,
    /// `None` where the store does not tell.
    pub culprit: Option<Culprit>,
    /// What is wrong, the index or rule where the store names it, and the way out.
    pub message: String,
}

/// What a store does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Culprit {
    Document { view: ViewId, id: DocumentId },
    Entry { table: Table, id: Arc<str> },
}

impl Culprit {
    /// The collection or table that it was to be in.
    pub fn collection(&self) -> String {
        match self {
            Culprit::Document { view, .. } => view.collection(),
            Culprit::Entry { table, .. } => table.name().to_owned(),
        }
    }
}
