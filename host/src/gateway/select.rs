//! Which documents of a view a request is about, and in which order.
//!
//! ```text
//! carrier=UA                 equal; several filters must all hold
//! legs=gte:10&legs=lt:20     a range: gt, gte, lt, lte
//! sort=-legs                 descending; without a hyphen ascending
//! ```
//!
//! A value is JSON where it is any (`10`, `true`, `null`, `"UA"`, `{"$date": "…"}`), and else a
//! text: `UA`. Quotes make a text of what would be something else: `"10"`, `"gte:10"`.
//!
//! A declared index serves a request where its first fields are those with an equal value, and the
//! field behind them is the one of the range and of the order. What no index serves is refused: it
//! would be searched for in the whole view.

use bson::raw::RawBson;

use super::ask::bad;
use crate::document;
use crate::document::text::Text;
use crate::http::problem::Problem;
use crate::store::list::{Bound, Direction, ID, Index, Range};

/// What a request filters and sorts by.
#[derive(Debug, Default)]
pub(super) struct Select {
    equal: Vec<(String, RawBson)>,
    /// Of one field.
    range: Option<(String, Range)>,
    sort: Option<(String, Direction)>,
}

/// The index that serves a request, and the request in its terms.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) index: Index,
    pub(super) equal: Vec<RawBson>,
    pub(super) range: Range,
    pub(super) direction: Direction,
}

const OPERATORS: [&str; 4] = ["gte", "gt", "lte", "lt"];

impl Select {
    /// Takes `sort`, or a filter. `indexes` are the view's own.
    pub(super) fn take(
        &mut self,
        name: &str,
        value: &str,
        indexes: &[Index],
    ) -> Result<(), Problem> {
        if name == "sort" {
            if self.sort.is_some() {
                return Err(bad("the parameter \"sort\" is given twice; give it once"));
            }
            let sort = match value.strip_prefix('-') {
                Some(field) => (field, Direction::Descending),
                None => (value, Direction::Ascending),
            };
            check_known(sort.0, "sorted by", indexes)?;
            self.sort = Some((sort.0.to_owned(), sort.1));
            return Ok(());
        }
        check_known(name, "filtered by", indexes)?;
        let bound = value
            .split_once(':')
            .filter(|(operator, _)| OPERATORS.contains(operator));
        match bound {
            Some((operator, value)) => self.bound(name, operator, read_value(name, value)?),
            None => self.equal(name, read_value(name, value)?),
        }
    }

    fn equal(&mut self, name: &str, value: RawBson) -> Result<(), Problem> {
        if name == ID {
            return Err(bad(
                "one document is read by its id at /views/VIEW/ID; \"_id\" takes ranges only",
            ));
        }
        if self.equal.iter().any(|(other, _)| other == name) {
            return Err(bad(format!(
                "\"{name}\" is to equal two values; give one of them"
            )));
        }
        self.equal.push((name.to_owned(), value));
        Ok(())
    }

    fn bound(&mut self, name: &str, operator: &str, value: RawBson) -> Result<(), Problem> {
        if value == RawBson::Null {
            return Err(bad(format!(
                "nothing is more or less than null; ask for {name}=null, or leave it out"
            )));
        }
        if name == ID && !matches!(value, RawBson::String(_)) {
            return Err(bad(
                "ids are texts; put the bound into quotes, as in _id=gte:\"10\"",
            ));
        }
        let (field, range) = self
            .range
            .get_or_insert_with(|| (name.to_owned(), Range::default()));
        if field != name {
            return Err(bad(format!(
                "\"{field}\" and \"{name}\" both have a range; a request takes one range"
            )));
        }
        let end = match operator {
            "gte" | "gt" => &mut range.from,
            _ => &mut range.to,
        };
        let inclusive = operator.ends_with('e');
        if end.replace(Bound { value, inclusive }).is_some() {
            return Err(bad(format!(
                "the range of \"{name}\" has two ends on one side; give one of them"
            )));
        }
        Ok(())
    }

    /// Finds the index that serves the request, the shortest of them.
    pub(super) fn plan(self, view: &str, indexes: &[Index]) -> Result<Plan, Problem> {
        let ids = Index::ids();
        let all = [&ids].into_iter().chain(indexes);
        let serving = all.filter(|index| self.is_served_by(index));
        let Some(index) = serving.min_by_key(|index| index.fields().len()) else {
            let known: Vec<String> = [&ids]
                .into_iter()
                .chain(indexes)
                .map(|index| format!("({index})"))
                .collect();
            return Err(bad(format!(
                "no index of view \"{view}\" serves this request; its first fields must be those \
                 with one value, and the next one that of the range and of the order. There is {}",
                known.join(", ")
            )));
        };
        let index = index.clone();
        let fields = index.fields().iter().take(self.equal.len());
        let value = |field: &str| {
            let found = self.equal.iter().find(|(name, _)| name == field);
            found.map(|(_, value)| value.clone())
        };
        let equal = fields.filter_map(|field| value(field)).collect();
        Ok(Plan {
            index,
            equal,
            range: self.range.map(|(_, range)| range).unwrap_or_default(),
            direction: self
                .sort
                .map_or(Direction::Ascending, |(_, direction)| direction),
        })
    }

    fn is_served_by(&self, index: &Index) -> bool {
        let fields = index.fields();
        let Some((first, rest)) = fields.split_at_checked(self.equal.len()) else {
            return false;
        };
        let is_first = |name: &str| first.iter().any(|field| **field == *name);
        let next = rest.first().map_or(ID, |field| &**field);
        self.equal.iter().all(|(name, _)| is_first(name))
            && self.range.as_ref().is_none_or(|(name, _)| name == next)
            && self.sort.as_ref().is_none_or(|(name, _)| name == next)
    }
}

fn check_known(name: &str, action: &str, indexes: &[Index]) -> Result<(), Problem> {
    let mut fields = indexes.iter().flat_map(Index::fields);
    if name == ID || fields.any(|field| **field == *name) {
        return Ok(());
    }
    let known: Vec<&str> = indexes
        .iter()
        .flat_map(Index::fields)
        .map(|field| &**field)
        .chain([ID])
        .collect();
    Err(bad(format!(
        "documents cannot be {action} \"{name}\"; declared indexes have {} (views.NAME.indexes in \
         the host's configuration)",
        known.join(", ")
    )))
}

fn read_value(name: &str, text: &str) -> Result<RawBson, Problem> {
    let json = match is_json(text) {
        true => format!("{{\"v\":{text}}}"),
        false => String::new(),
    };
    let refused = || {
        bad(format!(
            "{name}={text} compares with no single value; give a text, a number, true, false, \
             null, or a value in MongoDB's extended JSON"
        ))
    };
    let read = document::from_json(json.as_bytes()).ok();
    let value = |read: &document::FromJson| read.body.get("v").ok().flatten().map(RawBson::from);
    let found = read.as_ref().and_then(value);
    match found {
        Some(RawBson::Document(_) | RawBson::Array(_)) => Err(refused()),
        Some(value) => Ok(value),
        None if text.starts_with(['"', '{']) => Err(refused()),
        None => Ok(RawBson::String(text.to_owned())),
    }
}

/// Whether a text is one value: put into an object, it may else become two fields.
fn is_json(text: &str) -> bool {
    let mut reader = Text::new(text);
    reader.skip(0).and_then(|()| reader.end()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes() -> Vec<Index> {
        let index = |fields: &[&str]| Index::new(fields.iter().copied()).expect("fields");
        vec![
            index(&["carrier", "legs"]),
            index(&["legs"]),
            index(&["last.on"]),
        ]
    }

    fn plan(query: &[(&str, &str)]) -> Result<Plan, String> {
        let indexes = indexes();
        let mut select = Select::default();
        for (name, value) in query {
            let taken = select.take(name, value, &indexes);
            taken.map_err(|problem| problem.detail().to_owned())?;
        }
        let plan = select.plan("aircraft", &indexes);
        plan.map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn the_index_is_found_that_serves_a_request() {
        let cases: [(&[(&str, &str)], &str); 11] = [
            (&[], "_id"),
            (&[("sort", "-_id")], "_id"),
            (&[("_id", "gte:N1")], "_id"),
            (&[("carrier", "UA")], "carrier, legs"),
            (&[("carrier", "UA"), ("legs", "10")], "carrier, legs"),
            (&[("legs", "10"), ("carrier", "UA")], "carrier, legs"),
            (&[("carrier", "UA"), ("sort", "-legs")], "carrier, legs"),
            (&[("sort", "carrier")], "carrier, legs"),
            (&[("legs", "10"), ("sort", "_id")], "legs"),
            (&[("legs", "gte:1"), ("legs", "lt:9")], "legs"),
            (
                &[("last.on", "gt:{\"$date\":\"2013-01-01T00:00:00Z\"}")],
                "last.on",
            ),
        ];
        for (query, expected) in cases {
            let plan = plan(query).unwrap_or_else(|problem| panic!("{query:?}: {problem}"));
            assert_eq!(plan.index.to_string(), expected, "{query:?}");
        }
        let plan = plan(&[("legs", "10"), ("carrier", "UA"), ("sort", "-_id")]);
        let plan = plan.expect("it is served");
        let carrier = RawBson::String("UA".to_owned());
        assert_eq!(plan.equal, [carrier, RawBson::Int64(10)]);
        assert_eq!(plan.direction, Direction::Descending);
    }

    #[test]
    fn what_no_index_serves_is_refused() {
        let cases: [(&[(&str, &str)], &str); 11] = [
            (&[("miles", "1")], "cannot be filtered by \"miles\""),
            (&[("last", "1")], "cannot be filtered by \"last\""),
            (&[("sort", "miles")], "cannot be sorted by \"miles\""),
            (
                &[("sort", "legs"), ("sort", "legs")],
                "\"sort\" is given twice",
            ),
            (
                &[("last.on", "x"), ("sort", "legs")],
                "no index of view \"aircraft\"",
            ),
            (
                &[("legs", "gt:1"), ("sort", "_id")],
                "no index of view \"aircraft\"",
            ),
            (
                &[("legs", "gt:1"), ("carrier", "gt:A")],
                "a request takes one range",
            ),
            (
                &[("legs", "gt:1"), ("legs", "gte:1")],
                "two ends on one side",
            ),
            (&[("legs", "1"), ("legs", "2")], "is to equal two values"),
            (&[("_id", "N1")], "read by its id at /views/VIEW/ID"),
            (&[("_id", "gt:1")], "put the bound into quotes"),
        ];
        for (query, words) in cases {
            let refused = plan(query).expect_err(words);
            assert!(refused.contains(words), "{query:?}: {refused}");
        }
    }

    #[test]
    fn a_value_is_json_or_else_a_text() {
        let text = |text: &str| Some(RawBson::String(text.to_owned()));
        let decimal = |text: &str| RawBson::Decimal128(text.parse().expect("a decimal"));
        let date = |millis| RawBson::DateTime(bson::DateTime::from_millis(millis));
        let cases = [
            ("UA", text("UA")),
            ("", text("")),
            ("\"10\"", text("10")),
            ("\"gte:10\"", text("gte:10")),
            ("007", text("007")),
            ("1,\"w\":2", text("1,\"w\":2")),
            ("1,\"v\":2", text("1,\"v\":2")),
            (
                "18446744073709551616",
                Some(decimal("18446744073709551616")),
            ),
            ("9007199254740993.5", Some(decimal("9007199254740993.5"))),
            (
                "{\"$date\":253402300800000}",
                Some(date(253_402_300_800_000)),
            ),
            ("10", Some(RawBson::Int64(10))),
            ("-1.5", Some(RawBson::Double(-1.5))),
            ("true", Some(RawBson::Boolean(true))),
            ("null", Some(RawBson::Null)),
            (
                "{\"$date\":\"1970-01-01T00:00:01Z\"}",
                Some(RawBson::DateTime(bson::DateTime::from_millis(1_000))),
            ),
            ("{\"a\":1}", None),
            ("{\"$date\":1}x", None),
            ("[1]", None),
            ("\"", None),
        ];
        for (given, expected) in cases {
            assert_eq!(read_value("f", given).ok(), expected, "{given}");
        }
    }
}
