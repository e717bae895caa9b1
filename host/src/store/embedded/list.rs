//! Pages of views, each from one index on what `json_extract` finds in the documents' JSON.
//!
//! SQLite's values have fewer types than BSON's: what it takes for the same is told apart by
//! `json_type`. Values without a type of JSON's are ordered by the text of their extended form,
//! so dates are in order as long as they are written alike: of the years 1970 to 9999, all with
//! or all without milliseconds.

use bson::raw::{RawBson, RawDocumentBuf};
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, ToSql, TransactionBehavior, params_from_iter};

use super::documents::{check, to_row};
use super::{error, schema};
use crate::document;
use crate::store::list::{Bound, Direction, ID, Index, List, PAGE_BYTES_MAX, Page};
use crate::store::{Error, ViewId, envelope};

/// Creates what is missing of a view's indexes.
pub(super) fn create(
    connection: &Connection,
    view: &ViewId,
    indexes: &[Index],
) -> rusqlite::Result<()> {
    let table = view.collection();
    for index in indexes {
        let name = schema::quote(&format!("{table} {}", index.name()));
        let table = schema::quote(&table);
        let fields = index.fields().iter().map(|field| expression(field));
        let columns: Vec<String> = fields.chain(["id".to_owned()]).collect();
        let columns = columns.join(", ");
        connection.execute_batch(&format!(
            "CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})"
        ))?;
    }
    Ok(())
}

/// What SQLite finds at a path, as in the index: the same text, or the index would not be used.
fn expression(path: &str) -> String {
    if path == ID {
        return "id".to_owned();
    }
    format!("json_extract(json, {})", json_path(path))
}

fn json_path(path: &str) -> String {
    let names: Vec<String> = path.split('.').map(|name| format!(".\"{name}\"")).collect();
    format!("'${}'", names.concat())
}

/// A statement so far.
struct Sql {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Sql {
    /// A place for a value.
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn compare(&mut self, path: &str, operator: &str, value: &RawBson) {
        let field = expression(path);
        let (sql, kind) = to_sql(value);
        if sql == Value::Null {
            self.conditions.push(format!("{field} IS NULL"));
            return;
        }
        let place = self.value(sql);
        self.conditions.push(format!("{field} {operator} {place}"));
        if path != ID {
            let path = json_path(path);
            self.conditions
                .push(format!("json_type(json, {path}) IN ({kind})"));
        }
    }
}

/// The value as `json_extract` answers it, and what `json_type` says of it.
fn to_sql(value: &RawBson) -> (Value, &'static str) {
    match value {
        RawBson::Null => (Value::Null, "'null'"),
        RawBson::Boolean(value) => (Value::Integer((*value).into()), "'true', 'false'"),
        RawBson::Int32(value) => (Value::Integer((*value).into()), "'integer', 'real'"),
        RawBson::Int64(value) => (Value::Integer(*value), "'integer', 'real'"),
        RawBson::Double(value) if value.is_finite() => (Value::Real(*value), "'integer', 'real'"),
        RawBson::String(value) => (Value::Text(value.clone()), "'text'"),
        other => {
            let mut json = Vec::new();
            // A value that has no JSON is none that was found in any.
            let written = document::write_json_value(&mut json, other.as_raw_bson_ref());
            let text = written.ok().and_then(|()| String::from_utf8(json).ok());
            (text.map_or(Value::Null, Value::Text), "'object', 'array'")
        }
    }
}

/// Behind a place, in the order of these fields: equal in the first ones, and then behind.
fn behind(sql: &mut Sql, list: &List, after: &[RawBson]) {
    let mut cases = Vec::new();
    let mut equal: Vec<String> = Vec::new();
    for (path, value) in list.order().zip(after) {
        let field = expression(path);
        let (value, _) = to_sql(value);
        let is_null = value == Value::Null;
        let place = sql.value(value);
        let further = match (list.direction, is_null) {
            (Direction::Ascending, true) => Some(format!("{field} IS NOT NULL")),
            (Direction::Ascending, false) => Some(format!("{field} > {place}")),
            // Nothing comes before what is missing.
            (Direction::Descending, true) => None,
            (Direction::Descending, false) if path == ID => Some(format!("{field} < {place}")),
            (Direction::Descending, false) => {
                Some(format!("({field} < {place} OR {field} IS NULL)"))
            }
        };
        if let Some(further) = further {
            let case: Vec<String> = equal.iter().cloned().chain([further]).collect();
            cases.push(format!("({})", case.join(" AND ")));
        }
        // Where it helps to start in the index.
        if equal.is_empty() && list.direction == Direction::Ascending && !is_null {
            sql.conditions.push(format!("{field} >= {place}"));
        }
        equal.push(format!("{field} IS {place}"));
    }
    sql.conditions.push(format!("({})", cases.join(" OR ")));
}

pub(super) fn list(
    connection: &mut Connection,
    address: &str,
    view: &ViewId,
    list: &List,
) -> Result<Page, Error> {
    let mut sql = Sql {
        conditions: Vec::new(),
        values: Vec::new(),
    };
    for (field, value) in list.index.fields().iter().zip(&list.equal) {
        sql.compare(field, "=", value);
    }
    let ranged = list.order().next().unwrap_or(ID);
    if let Some(Bound { value, inclusive }) = &list.range.from {
        sql.compare(ranged, if *inclusive { ">=" } else { ">" }, value);
    }
    if let Some(Bound { value, inclusive }) = &list.range.to {
        sql.compare(ranged, if *inclusive { "<=" } else { "<" }, value);
    }
    if let Some(after) = &list.after {
        behind(&mut sql, list, after);
    }
    let direction = match list.direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    };
    let order = list
        .order()
        .map(|path| format!("{} {direction}", expression(path)));
    let order: Vec<String> = order.collect();
    // One more tells whether there are more.
    let limit = i64::try_from(list.limit)
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    let limit = sql.value(Value::Integer(limit));
    let conditions = match sql.conditions.as_slice() {
        [] => String::new(),
        conditions => format!("WHERE {}", conditions.join(" AND ")),
    };
    let rest = format!("{conditions} ORDER BY {} LIMIT {limit}", order.join(", "));

    let failed = |e| error::store(address, e);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Deferred)
        .map_err(failed)?;
    let mut page = Page {
        documents: Vec::new(),
        more: false,
    };
    if !schema::has_table(&transaction, &view.collection()).map_err(failed)? {
        return Ok(page);
    }
    let mut statement = transaction
        .prepare_cached(&schema::select(view, &rest))
        .map_err(failed)?;
    let mut rows = statement
        .query(params_from_iter(sql.values.iter().map(Borrowed)))
        .map_err(failed)?;
    let mut bytes = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        if page.documents.len() == list.limit || bytes >= PAGE_BYTES_MAX {
            page.more = true;
            break;
        }
        let (id, document) = check(address, view, to_row(row).map_err(failed)?)?;
        let sealed: RawDocumentBuf = envelope::seal(&id, &document);
        bytes += sealed.as_bytes().len();
        page.documents.push(sealed);
    }
    Ok(page)
}

/// A value without a copy of it.
struct Borrowed<'v>(&'v Value);

impl ToSql for Borrowed<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0.into()))
    }
}
