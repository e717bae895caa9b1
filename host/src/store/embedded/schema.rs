//! The tables: one for each view version, one for each reserved [`Table`], and the checkpoints.
//!
//! A view's plain name is an SQL view on its active version, for readers with tools of their own.
//! Names come from plugins, so every one is quoted.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::store::owners::may_own;
use crate::store::{Table, ViewId};

const CHECKPOINTS: &str = "_checkpoints";

/// Columns of the checkpoints that the first version of this host did not have.
const LATER_COLUMNS: [(&str, &str); 4] = [
    ("repairs", "INTEGER NOT NULL DEFAULT 0"),
    ("topic_id", "TEXT"),
    ("last_offset", "INTEGER"),
    ("leader_epoch", "INTEGER"),
];

/// The statements for the documents of one view version.
///
/// Parameter 1 is the id. Those that write a document take its columns as 2 to 8, and a guard's
/// five columns follow.
pub(super) struct ViewSql {
    pub(super) insert: String,
    pub(super) update: String,
    pub(super) update_unchanged: String,
    pub(super) delete: String,
    pub(super) delete_unchanged: String,
}

impl ViewSql {
    pub(super) fn new(view: &ViewId) -> Self {
        let table = quote(&view.collection());
        let update = format!(
            r#"UPDATE {table} SET json = ?2, bson = ?3, revision = ?4, topic = ?5,
               "partition" = ?6, "offset" = ?7, plugin = ?8 WHERE id = ?1"#
        );
        let delete = format!("DELETE FROM {table} WHERE id = ?1");
        ViewSql {
            insert: format!(
                r#"INSERT INTO {table}
                   (id, json, bson, revision, topic, "partition", "offset", plugin)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING"#
            ),
            update_unchanged: format!(
                r#"{update} AND revision = ?9 AND topic = ?10 AND "partition" = ?11
                   AND "offset" = ?12 AND plugin = ?13"#
            ),
            update,
            delete_unchanged: format!(
                r#"{delete} AND revision = ?2 AND topic = ?3 AND "partition" = ?4
                   AND "offset" = ?5 AND plugin = ?6"#
            ),
            delete,
        }
    }
}

/// Reads documents of one view version; `condition` is the rest of the statement.
pub(super) fn select(view: &ViewId, condition: &str) -> String {
    let table = quote(&view.collection());
    format!(
        r#"SELECT id, bson, revision, topic, "partition", "offset", plugin
           FROM {table} {condition}"#
    )
}

/// True where SQLite keeps the name to itself.
pub(super) fn is_reserved(name: &str) -> bool {
    name.get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"))
}

/// True where the host's own tables are as [`create_reserved`] leaves them.
pub(super) fn has_reserved(connection: &Connection) -> rusqlite::Result<bool> {
    for table in Table::ALL {
        if !has_table(connection, table.name())? {
            return Ok(false);
        }
    }
    if !has_table(connection, CHECKPOINTS)? {
        return Ok(false);
    }
    for (column, _) in LATER_COLUMNS {
        if !connection.column_exists(None, CHECKPOINTS, column)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Creates the checkpoints and the reserved tables, and adds to those of an earlier version of
/// this host what they lack.
pub(super) fn create_reserved(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS _checkpoints (
             id TEXT PRIMARY KEY NOT NULL,
             epoch INTEGER NOT NULL,
             next INTEGER NOT NULL,
             owner TEXT NOT NULL
         ) STRICT, WITHOUT ROWID",
    )?;
    for (column, kind) in LATER_COLUMNS {
        if !connection.column_exists(None, CHECKPOINTS, column)? {
            let add = format!("ALTER TABLE {CHECKPOINTS} ADD COLUMN {column} {kind}");
            connection.execute_batch(&add)?;
        }
    }
    for table in Table::ALL {
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (
                 id TEXT PRIMARY KEY NOT NULL,
                 json TEXT NOT NULL,
                 bson BLOB NOT NULL
             ) STRICT"
        ))?;
    }
    Ok(())
}

/// Creates what is missing of the views' tables and of their plain names.
pub(super) fn create_views(connection: &mut Connection, views: &[ViewId]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for view in views {
        let (table, name) = (quote(&view.collection()), quote(&view.name));
        // With row ids: documents are larger than the inner pages of an index should hold.
        // The documents come last: a guard is then checked without reading their pages.
        transaction.execute_batch(&format!(
            r#"CREATE TABLE IF NOT EXISTS {table} (
                   id TEXT PRIMARY KEY NOT NULL,
                   revision INTEGER NOT NULL,
                   topic TEXT NOT NULL,
                   "partition" INTEGER NOT NULL,
                   "offset" INTEGER NOT NULL,
                   plugin TEXT NOT NULL,
                   json TEXT NOT NULL,
                   bson BLOB NOT NULL
               ) STRICT;
               CREATE VIEW IF NOT EXISTS {name} AS
                   SELECT id, json, revision, topic, "partition", "offset", plugin, bson
                   FROM {table};"#
        ))?;
    }
    transaction.commit()
}

pub(super) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let found = connection
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?
        .query_row([name], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Records the writer of views at the first call; answers why not, where that may not be.
pub(super) fn own(
    connection: &mut Connection,
    views: &[ViewId],
    writer: &str,
) -> rusqlite::Result<Result<(), String>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS _views (id TEXT PRIMARY KEY, writer TEXT NOT NULL) WITHOUT ROWID",
    )?;
    let recorded: Vec<(String, String)> = transaction
        .prepare("SELECT id, writer FROM _views ORDER BY id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    if let Err(reason) = may_own(views, writer, &recorded) {
        return Ok(Err(reason));
    }
    for view in views {
        transaction.execute(
            "INSERT INTO _views (id, writer) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            (view.collection(), writer),
        )?;
    }
    transaction.commit()?;
    Ok(Ok(()))
}
