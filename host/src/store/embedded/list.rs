//! Pages of views, each from one index on what `json_extract` finds in the documents' JSON.
//!
//! SQLite's values have fewer types than BSON's, so an index has each value's class before the
//! value ([`class`]): a range of texts is one range of the index, whatever else lies in the view.
//! Values without a type of JSON's are ordered by the text of their extended form, so dates are in
//! order as long as they are written alike: of the years 1970 to 9999, all with or all without
//! milliseconds.

use bson::raw::{RawBson, RawDocumentBuf};
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, ToSql, TransactionBehavior, params_from_iter};

use super::documents::{check, to_row};
use super::{error, schema};
use crate::document;
use crate::store::list::{Bound, Direction, ID, Index, List, PAGE_BYTES_MAX, Page};
use crate::store::{Error, ViewId, envelope};

/// Creates what is missing of a view's indexes. Those that earlier versions of this host made, of
/// values without their classes, go.
pub(super) fn create(
    connection: &Connection,
    view: &ViewId,
    indexes: &[Index],
) -> rusqlite::Result<()> {
    let table = view.collection();
    for index in indexes {
        let before = schema::quote(&format!("{table} {}", index.name()));
        let name = schema::quote(&format!("{table} {}, with classes", index.name()));
        let table = schema::quote(&table);
        let fields = index.fields().iter();
        let columns: Vec<String> = fields.flat_map(|field| columns(field)).collect();
        let columns = columns.join(", ");
        connection.execute_batch(&format!(
            "DROP INDEX IF EXISTS {before};
             CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns}, id)"
        ))?;
    }
    Ok(())
}

/// What an index orders by for this path.
fn columns(path: &str) -> Vec<String> {
    match path {
        ID => vec![expression(path)],
        _ => vec![class(path), expression(path)],
    }
}

/// The class of the value at a path: values of one class are compared with one another. As with
/// [`expression`], the text is that of the index.
fn class(path: &str) -> String {
    let path = json_path(path);
    format!(
        "CASE json_type(json, {path}) WHEN 'integer' THEN 1 WHEN 'real' THEN 1 WHEN 'text' THEN 2 \
         WHEN 'object' THEN 3 WHEN 'array' THEN 3 WHEN 'true' THEN 4 WHEN 'false' THEN 4 ELSE 0 END"
    )
}

/// Null, or nothing.
const MISSING: u8 = 0;
const NUMBER: u8 = 1;
const TEXT: u8 = 2;
/// What has no type of JSON's, in its extended form.
const OTHER: u8 = 3;
const BOOLEAN: u8 = 4;

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
        let (value, kind) = to_sql(value);
        if path != ID {
            self.conditions.push(format!("{} = {kind}", class(path)));
        }
        if kind != MISSING {
            let place = self.value(value);
            self.conditions.push(format!("{field} {operator} {place}"));
        }
    }
}

/// The value as `json_extract` answers it, and its class.
fn to_sql(value: &RawBson) -> (Value, u8) {
    match value {
        RawBson::Null => (Value::Null, MISSING),
        RawBson::Boolean(value) => (Value::Integer((*value).into()), BOOLEAN),
        RawBson::Int32(value) => (Value::Integer((*value).into()), NUMBER),
        RawBson::Int64(value) => (Value::Integer(*value), NUMBER),
        RawBson::Double(value) if value.is_finite() => (Value::Real(*value), NUMBER),
        RawBson::String(value) => (Value::Text(value.clone()), TEXT),
        other => {
            let mut json = Vec::new();
            // A value that has no JSON is none that was found in any.
            let written = document::write_json_value(&mut json, other.as_raw_bson_ref());
            let text = written.ok().and_then(|()| String::from_utf8(json).ok());
            text.map_or((Value::Null, MISSING), |text| (Value::Text(text), OTHER))
        }
    }
}

/// A part of what a page may come from, in the order of the page. Each is one range of the index:
/// a condition on class and value together would be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Of a first page.
    All,
    /// Behind the page before, within the class that it ended in.
    Behind,
    /// All classes behind that one.
    Beyond,
}

/// Whether all that is listed is of one class in the field that it is ordered by first.
fn is_of_one_class(list: &List) -> bool {
    list.range.from.is_some() || list.range.to.is_some() || list.order().next() == Some(ID)
}

fn parts(list: &List) -> &'static [Part] {
    match (&list.after, is_of_one_class(list)) {
        (None, _) => &[Part::All],
        (Some(_), true) => &[Part::Behind],
        (Some(_), false) => &[Part::Behind, Part::Beyond],
    }
}

/// Behind a place, in the order of these fields: equal in the first ones, and then behind.
fn behind(sql: &mut Sql, list: &List, after: &[RawBson]) {
    let (further, not_before) = match list.direction {
        Direction::Ascending => (">", ">="),
        Direction::Descending => ("<", "<="),
    };
    let mut cases = Vec::new();
    let mut equal: Vec<String> = Vec::new();
    for (path, value) in list.order().zip(after) {
        let field = expression(path);
        let (value, kind) = to_sql(value);
        let place = sql.value(value);
        let is_first = equal.is_empty();
        let mut case = |more: &[String]| {
            let case: Vec<&str> = equal.iter().chain(more).map(String::as_str).collect();
            cases.push(format!("({})", case.join(" AND ")));
        };
        let has_value = path == ID || kind != MISSING;
        let same_class = (path != ID).then(|| format!("{} = {kind}", class(path)));
        if !is_first && path != ID {
            case(&[format!("{} {further} {kind}", class(path))]);
        }
        if has_value {
            let behind = format!("{field} {further} {place}");
            let more: Vec<String> = same_class.iter().cloned().chain([behind]).collect();
            case(&more);
        }
        // Where to start in the index.
        if is_first {
            sql.conditions.extend(same_class.clone());
            if has_value {
                sql.conditions.push(format!("{field} {not_before} {place}"));
            }
        }
        equal.extend(same_class);
        if has_value {
            equal.push(format!("{field} = {place}"));
        }
    }
    sql.conditions.push(format!("({})", cases.join(" OR ")));
}

/// In the classes behind that of a place.
fn beyond(sql: &mut Sql, list: &List, after: &[RawBson]) {
    let further = match list.direction {
        Direction::Ascending => ">",
        Direction::Descending => "<",
    };
    if let Some((path, value)) = list.order().zip(after).next() {
        let (_, kind) = to_sql(value);
        sql.conditions
            .push(format!("{} {further} {kind}", class(path)));
    }
}

/// What is behind `FROM`, and the values in it.
fn statement(list: &List, part: Part, limit: usize) -> (String, Vec<Value>) {
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
    let after = list.after.as_deref().unwrap_or_default();
    match part {
        Part::All => {}
        Part::Behind => behind(&mut sql, list, after),
        Part::Beyond => beyond(&mut sql, list, after),
    }
    let direction = match list.direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    };
    let mut order: Vec<String> = list.order().flat_map(columns).collect();
    if ranged != ID && (part == Part::Behind || is_of_one_class(list)) {
        // A class that is the same for all is left out: SQLite does not see that of an expression,
        // and would sort what the index has in order.
        order.remove(0);
    }
    let order: Vec<String> = order
        .into_iter()
        .map(|column| format!("{column} {direction}"))
        .collect();
    let limit = sql.value(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    let conditions = match sql.conditions.as_slice() {
        [] => String::new(),
        conditions => format!("WHERE {}", conditions.join(" AND ")),
    };
    let rest = format!("{conditions} ORDER BY {} LIMIT {limit}", order.join(", "));
    (rest, sql.values)
}

pub(super) fn list(
    connection: &mut Connection,
    address: &str,
    view: &ViewId,
    list: &List,
) -> Result<Page, Error> {
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
    let mut bytes = 0;
    for part in parts(list) {
        // One more tells whether there are more.
        let limit = list.limit.saturating_add(1) - page.documents.len();
        let (rest, values) = statement(list, *part, limit);
        let mut statement = transaction
            .prepare_cached(&schema::select(view, &rest))
            .map_err(failed)?;
        let mut rows = statement
            .query(params_from_iter(values.iter().map(Borrowed)))
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            if page.documents.len() == list.limit || bytes >= PAGE_BYTES_MAX {
                page.more = true;
                return Ok(page);
            }
            let (id, document) = check(address, view, to_row(row).map_err(failed)?)?;
            let sealed: RawDocumentBuf = envelope::seal(&id, &document);
            bytes += sealed.as_bytes().len();
            page.documents.push(sealed);
        }
    }
    Ok(page)
}

/// How SQLite finds a page, for tests.
#[cfg(test)]
pub(super) fn plans(
    connection: &Connection,
    view: &ViewId,
    list: &List,
) -> rusqlite::Result<Vec<String>> {
    let mut plans = Vec::new();
    for part in parts(list) {
        let (rest, values) = statement(list, *part, list.limit);
        let sql = format!("EXPLAIN QUERY PLAN {}", schema::select(view, &rest));
        let mut statement = connection.prepare(&sql)?;
        let values = params_from_iter(values.iter().map(Borrowed));
        for row in statement.query_map(values, |row| row.get::<_, String>("detail"))? {
            plans.push(row?);
        }
    }
    Ok(plans)
}

/// A value without a copy of it.
struct Borrowed<'v>(&'v Value);

impl ToSql for Borrowed<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0.into()))
    }
}
