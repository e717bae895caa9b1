//! What SQLite's errors mean to the host, and what its user can do about them.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::document;
use crate::projection::DocumentId;
use crate::store::entry::EntryTooLarge;
use crate::store::{
    CommitError, Culprit, Entry, EntryChange, Error, Rejection, Table, ViewId, Write,
};

/// An error while the store runs: what is locked, full or failing may yet recover.
pub(super) fn store(address: &str, error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted,
        ) => Error::Unavailable {
            address: address.to_owned(),
            source: error.into(),
        },
        code => refused(address, message(code, &error)),
    }
}

/// An error while the store is opened: only another process's lock goes away by itself.
pub(super) fn opening(address: &str, error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::DiskFull) => refused(
            address,
            format!(
                "it cannot be opened ({error}); name a file in a folder that this user can write \
                 to, on a disk with space left"
            ),
        ),
        _ => store(address, error),
    }
}

pub(super) fn folder(address: &str, folder: &Path, error: &std::io::Error) -> Error {
    refused(
        address,
        format!(
            "its folder {} cannot be created ({error}); name a file in a folder that this user \
             can write to",
            folder.display()
        ),
    )
}

pub(super) fn foreign_file(address: &str) -> Error {
    refused(
        address,
        "it is an SQLite database of another application, and has been left as it is; name \
         another file",
    )
}

pub(super) fn other_format(address: &str, found: i32, known: i32) -> Error {
    refused(
        address,
        format!(
            "it has format {found} and this host reads format {known}; use the host that wrote \
             it, or name another file and let the events be projected again"
        ),
    )
}

pub(super) fn no_log(address: &str, mode: &str) -> Error {
    refused(
        address,
        format!(
            "its file system cannot hold a write-ahead log (the journal stays in mode \
             \"{mode}\"); name a file on a local disk"
        ),
    )
}

pub(super) fn removed(address: &str) -> Error {
    refused(
        address,
        "its file has been removed or moved while in use; put it back and start the host again",
    )
}

pub(super) fn reserved_name(address: &str, view: &ViewId) -> Error {
    refused(
        address,
        format!(
            "SQLite keeps names that start with \"sqlite_\" to itself; give view \"{}\" another \
             name",
            view.name
        ),
    )
}

/// Why a change was not written, and which.
pub(super) enum Unwritten<C> {
    /// What it changes is not as it expects.
    Mismatch(C),
    /// What it would store is none that the file takes.
    Rejected(C, rusqlite::Error),
    Failed(rusqlite::Error),
}

impl<C> Unwritten<C> {
    pub(super) fn of(error: rusqlite::Error, change: C) -> Self {
        match error.sqlite_error_code() {
            // A constraint, index or trigger that somebody has added.
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                Unwritten::Rejected(change, error)
            }
            _ => Unwritten::Failed(error),
        }
    }
}

pub(super) fn no_json(
    address: &str,
    view: &ViewId,
    id: &DocumentId,
    error: &document::Error,
) -> CommitError {
    rejected(
        address,
        Culprit::Document {
            view: view.clone(),
            id: id.clone(),
        },
        format!("document \"{id}\" of view {view} cannot be written as JSON: {error}"),
    )
}

pub(super) fn rejected_document(
    address: &str,
    write: &Write,
    error: &rusqlite::Error,
) -> CommitError {
    let Write { view, id, .. } = write;
    rejected(
        address,
        Culprit::Document {
            view: view.clone(),
            id: id.clone(),
        },
        format!(
            "SQLite does not take document \"{id}\" of view {view}: {error}; change the document, \
             or the index, constraint or trigger of table \"{}\" that forbids it",
            view.collection()
        ),
    )
}

pub(super) fn rejected_entry(
    address: &str,
    change: &EntryChange,
    error: &rusqlite::Error,
) -> CommitError {
    let (table, id) = (change.table(), change.id());
    rejected(
        address,
        Culprit::Entry {
            table,
            id: Arc::clone(id),
        },
        format!(
            "SQLite does not take entry \"{id}\" of {table}: {error}; the table is the host's \
             own, so remove the index, constraint or trigger of {table} that forbids it"
        ),
    )
}

pub(super) fn no_json_change(
    address: &str,
    change: &EntryChange,
    error: &document::Error,
) -> CommitError {
    let (table, id) = (change.table(), change.id());
    rejected(
        address,
        Culprit::Entry {
            table,
            id: Arc::clone(id),
        },
        format!("entry \"{id}\" of {table} cannot be written as JSON: {error}"),
    )
}

fn rejected(address: &str, culprit: Culprit, message: String) -> CommitError {
    CommitError::Rejected(Box::new(Rejection {
        address: address.to_owned(),
        culprit: Some(culprit),
        message,
    }))
}

pub(super) fn foreign_document(
    address: &str,
    view: &ViewId,
    id: &str,
    error: &dyn Display,
) -> Error {
    Error::Foreign {
        address: address.to_owned(),
        view: view.clone(),
        id: id.to_owned(),
        message: format!("its column \"bson\" holds no BSON document ({error})"),
    }
}

pub(super) fn no_json_entry(address: &str, entry: &Entry, error: &document::Error) -> Error {
    let Entry { table, id, .. } = entry;
    refused(
        address,
        format!("entry \"{id}\" of {table} cannot be written as JSON: {error}"),
    )
}

pub(super) fn foreign_entry(address: &str, table: Table, id: &str, error: &dyn Display) -> Error {
    refused(
        address,
        format!(
            "entry \"{id}\" of {table} was changed by somebody else: its column \"bson\" holds no \
             BSON document ({error}); restore a copy of the file"
        ),
    )
}

pub(super) fn entry_too_large(address: &str, too_large: &EntryTooLarge) -> Error {
    refused(address, format!("{too_large}; cut it into several"))
}

pub(super) fn worker_ended(address: &str) -> Error {
    refused(
        address,
        "its thread has ended by a panic, which is in the log; start the host again",
    )
}

fn message(code: Option<ErrorCode>, error: &rusqlite::Error) -> String {
    match code {
        Some(ErrorCode::NotADatabase) => {
            "it is no SQLite database, and has been left as it is; name another file".to_owned()
        }
        Some(ErrorCode::DatabaseCorrupt) => format!(
            "the file is damaged ({error}); restore a copy of it, or move it away and let the \
             events be projected again"
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => format!(
            "it cannot be written ({error}); give this user the right to write the file and its \
             folder"
        ),
        _ => format!("SQLite refuses ({error}); if the file was changed by hand, restore a copy"),
    }
}

fn refused(address: &str, message: impl Into<String>) -> Error {
    Error::Refused {
        address: address.to_owned(),
        message: message.into(),
    }
}
