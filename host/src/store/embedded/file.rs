//! Opens the file, and makes sure that it is this host's before anything is written to it.
//!
//! A commit is durable against the end of the process at once, and against a power failure once
//! the write-ahead log is next synced (`synchronous = NORMAL`). Exactly-once does not suffer: a
//! power failure loses the last transactions whole and in order, documents and checkpoint
//! together, with every claim that came after, and all hosts of the file go down with it. The
//! next claimer starts where the documents are.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tracing::warn;

use super::{error, schema};
use crate::store::Error;

/// "Prjn": marks a file as ours, where `file(1)` and SQLite's tools look for it.
const APPLICATION_ID: i32 = 0x5072_6a6e;
/// Counts the changes to the tables that an older host could not read.
const FORMAT: i32 = 1;

/// How long to wait for a write transaction of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// What stays of the write-ahead log after a checkpoint, however large a burst made it.
const LOG_BYTES_MAX: i64 = 64 * 1024 * 1024;
/// Five statements for each view version, seven for each reserved table, and those of the
/// checkpoints.
const CACHED_STATEMENTS_MAX: usize = 192;

/// Of this user alone.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Whose a file is.
enum Identity {
    Ours,
    OtherFormat(i32),
    Foreign,
}

/// Opens the connection that writes; creates the file where there is none.
pub(super) fn open(path: &Path, address: &str) -> Result<Connection, Error> {
    if let Some(folder) = path.parent() {
        let mut own = fs::DirBuilder::new();
        own.recursive(true).mode(FOLDER_MODE);
        own.create(folder)
            .map_err(|e| error::folder(address, folder, &e))?;
    }
    create(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|e| error::opening(address, e))?;
    connection
        .busy_timeout(BUSY_TIMEOUT)
        .map_err(|e| error::opening(address, e))?;

    match take(&mut connection).map_err(|e| error::opening(address, e))? {
        Identity::Ours => {}
        Identity::OtherFormat(format) => return Err(error::other_format(address, format, FORMAT)),
        Identity::Foreign => return Err(error::foreign_file(address)),
    }
    match configure(&connection).map_err(|e| error::opening(address, e))? {
        mode if mode == "wal" => Ok(connection),
        mode => Err(error::no_log(address, &mode)),
    }
}

/// Creates the file, where there is none, for this user alone: SQLite would make it as the umask has
/// it. Its own files beside it take this one's mode. What goes wrong here, SQLite tells.
fn create(path: &Path) {
    let mut own = fs::OpenOptions::new();
    own.write(true).create_new(true).mode(FILE_MODE);
    let created = own.open(path);
    let is_there = matches!(&created, Err(e) if e.kind() == io::ErrorKind::AlreadyExists);
    if !is_there {
        return;
    }
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    let mode = metadata.mode() & 0o777;
    if metadata.is_file() && mode & 0o077 != 0 {
        warn!(
            "{} can be read by others (mode {mode:o}), with all views in it; chmod 600 it, and its \
             -wal and -shm, unless that is wanted",
            path.display()
        );
    }
}

/// Opens the connection that reads, once [`open`] has found the file to be in order.
pub(super) fn open_reader(path: &Path, address: &str) -> Result<Connection, Error> {
    // Not opened read-only: the last connection of a file removes the log, whichever it is.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        configure(&connection)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    };
    open().map_err(|e| error::opening(address, e))
}

/// Makes an empty file ours, and adds what one of ours lacks; leaves any other as it is.
fn take(connection: &mut Connection) -> rusqlite::Result<Identity> {
    // Each look is one transaction: another process may be making the file its own right now.
    let look = connection.transaction()?;
    if let Some(identity) = settled(&look)? {
        return Ok(identity);
    }
    look.finish()?;

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(identity) = settled(&transaction)? {
        return Ok(identity);
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    schema::create_reserved(&transaction)?;
    transaction.commit()?;
    Ok(Identity::Ours)
}

/// Says whose the file is; `None` where it may be ours and something is missing.
fn settled(transaction: &Transaction) -> rusqlite::Result<Option<Identity>> {
    match identify(transaction)? {
        Some(Identity::Ours) if !schema::has_reserved(transaction)? => Ok(None),
        identity => Ok(identity),
    }
}

/// Says whose the file is; `None` where nothing is in it yet.
fn identify(transaction: &Transaction) -> rusqlite::Result<Option<Identity>> {
    let number = |pragma| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (application_id, format) = (number("application_id")?, number("user_version")?);
    let objects: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application_id, format, objects) {
        (APPLICATION_ID, FORMAT, _) => Some(Identity::Ours),
        (APPLICATION_ID, other, _) => Some(Identity::OtherFormat(other)),
        (0, 0, 0) => None,
        _ => Some(Identity::Foreign),
    })
}

/// Sets the connection up, and answers the file's journal mode.
fn configure(connection: &Connection) -> rusqlite::Result<String> {
    let mode = write_ahead_log(connection)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_MAX, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS_MAX);
    Ok(mode)
}

/// Switches to the write-ahead log. SQLite does not wait by itself for others who do the same.
#[expect(
    clippy::disallowed_methods,
    reason = "this thread opens the file and nothing else, and SQLite has no event to wait for"
)]
fn write_ahead_log(connection: &Connection) -> rusqlite::Result<String> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        let mode =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
        match mode {
            Err(e)
                if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            mode => return mode,
        }
    }
}
