//! Reads sections key by key, and keeps going after a problem.
//!
//! Guarantees: a key that no section asks for is a problem; so is each value of a wrong type. A
//! reader answers `None` only after it has noted a problem or where the key is absent.
//!
//! Not here: what a text means (`values`), which keys there are (the sections).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::{Text, Variables, interpolate};
use super::problem::{KeyPath, Place, Problem, Problems};
use super::suggest;
use super::tree::{Node, Table, Value};

/// What all sections share.
pub(super) struct Context {
    path: Arc<Path>,
    folder: PathBuf,
    variables: Variables,
    problems: RefCell<Vec<Problem>>,
    hidden: RefCell<BTreeSet<KeyPath>>,
}

/// One table of the configuration.
pub(super) struct Section<'c> {
    context: &'c Context,
    path: KeyPath,
    /// Where keys are missed: the section's name, or else where that would stand.
    place: Place,
    table: Contents<'c>,
    known: Vec<&'static str>,
}

enum Contents<'c> {
    Table(&'c Table),
    Absent,
    /// Something else stands in its place, which has been noted.
    Broken,
}

/// One value of the configuration.
pub(super) struct Field<'c> {
    context: &'c Context,
    path: KeyPath,
    node: &'c Node,
}

impl Context {
    /// `problems` are those that were found before any section was read.
    pub(super) fn new(
        path: Arc<Path>,
        folder: &Path,
        variables: Variables,
        problems: Vec<Problem>,
    ) -> Self {
        Context {
            path,
            folder: folder.to_owned(),
            variables,
            problems: RefCell::new(problems),
            hidden: RefCell::default(),
        }
    }

    /// A path as the file means it: relative to the file's folder.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The keys whose values came through variables, where nothing is wrong.
    pub(super) fn finish(self) -> Result<BTreeSet<KeyPath>, Problems> {
        let problems = self.problems.into_inner();
        if problems.is_empty() {
            Ok(self.hidden.into_inner())
        } else {
            Err(Problems::new(problems))
        }
    }

    fn note(&self, place: &Place, key: KeyPath, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem {
            place: place.clone(),
            key: Some(key),
            message: message.into(),
        });
    }
}

impl<'c> Section<'c> {
    pub(super) fn root(context: &'c Context, table: &'c Table) -> Self {
        Section {
            context,
            path: KeyPath::default(),
            place: Place::Position {
                path: context.path.clone(),
                line: 1,
                column: 1,
            },
            table: Contents::Table(table),
            known: Vec::new(),
        }
    }

    pub(super) fn context(&self) -> &'c Context {
        self.context
    }

    /// Reads a key by a function of `values`, whose error is noted.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        value: impl FnOnce(&Field<'c>) -> Result<T, String>,
    ) -> Option<T> {
        let field = self.field(key)?;
        value(&field).map_err(|message| field.problem(message)).ok()
    }

    /// Reads a key that must be there; `way_out` tells what to write.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        way_out: &str,
        value: impl FnOnce(&Field<'c>) -> Result<T, String>,
    ) -> Option<T> {
        self.expect(key, way_out);
        self.read(key, value)
    }

    /// Notes a problem where the key is absent.
    pub(super) fn expect(&mut self, key: &'static str, way_out: &str) {
        let broken = matches!(self.table, Contents::Broken);
        if self.field(key).is_none() && !broken {
            self.problem(key, format!("missing; {way_out}"));
        }
    }

    pub(super) fn field(&mut self, key: &'static str) -> Option<Field<'c>> {
        self.know(key);
        let Contents::Table(table) = self.table else {
            return None;
        };
        Some(Field {
            context: self.context,
            path: self.path.child(key),
            node: &table.get(key)?.node,
        })
    }

    /// A table in this one; where it is absent, all its keys are.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'c> {
        self.know(key);
        let Contents::Table(table) = self.table else {
            return self.child(key, &self.place, Contents::Absent);
        };
        match table.get(key) {
            None => self.child(key, &self.place, Contents::Absent),
            Some(entry) => self.child(key, &entry.place, self.contents(key, &entry.node)),
        }
    }

    /// A table in this one that is read already, for another look at its keys.
    pub(super) fn peek(&self, key: &'static str) -> Section<'c> {
        let entry = match self.table {
            Contents::Table(table) => table.get(key),
            Contents::Absent | Contents::Broken => None,
        };
        match entry.map(|entry| (&entry.place, entry.node.typed())) {
            Some((place, Value::Table(table))) => self.child(key, place, Contents::Table(table)),
            Some((place, _)) => self.child(key, place, Contents::Broken),
            None => self.child(key, &self.place, Contents::Absent),
        }
    }

    /// The tables in this one, whatever their names.
    pub(super) fn named_sections(&self) -> Vec<(&'c str, Section<'c>)> {
        let Contents::Table(table) = self.table else {
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(table.0.len());
        for entry in &table.0 {
            let contents = self.contents(&entry.name, &entry.node);
            sections.push((
                entry.name.as_str(),
                self.child(&entry.name, &entry.place, contents),
            ));
        }
        sections
    }

    /// The values in this table, whatever their names.
    pub(super) fn named_fields(&self) -> Vec<(&'c str, Field<'c>)> {
        let Contents::Table(table) = self.table else {
            return Vec::new();
        };
        let mut fields = Vec::with_capacity(table.0.len());
        for entry in &table.0 {
            let field = Field {
                context: self.context,
                path: self.path.child(&entry.name),
                node: &entry.node,
            };
            fields.push((entry.name.as_str(), field));
        }
        fields
    }

    /// Notes a problem of one key, at its value where it has one.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        let entry = match self.table {
            Contents::Table(table) => table.get(key),
            Contents::Absent | Contents::Broken => None,
        };
        let place = entry.map_or(&self.place, |entry| &entry.node.place);
        self.context.note(place, self.path.child(key), message);
    }

    /// True where nothing stands in its place.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.table, Contents::Absent)
    }

    /// True where something is wrong with a key, or with what lies in it: whoever compares it with
    /// another one leaves that, for the second problem would follow from the first.
    pub(super) fn is_wrong(&self, key: &str) -> bool {
        let key = self.path.child(key).0;
        let problems = self.context.problems.borrow();
        let mut keys = problems.iter().filter_map(|problem| problem.key.as_ref());
        keys.any(|wrong| wrong.0.starts_with(&key))
    }

    /// True where the key was written.
    pub(super) fn has(&self, key: &str) -> bool {
        matches!(self.table, Contents::Table(table) if table.get(key).is_some())
    }

    /// Notes that the section has nothing in it.
    pub(super) fn miss(&self, way_out: &str) {
        if !matches!(self.table, Contents::Broken) {
            self.own_problem(format!("missing; {way_out}"));
        }
    }

    /// Notes a problem of the section as a whole.
    pub(super) fn own_problem(&self, message: impl Into<String>) {
        self.context.note(&self.place, self.path.clone(), message);
    }

    /// Notes what nobody asked for.
    pub(super) fn finish(self) {
        let Contents::Table(table) = self.table else {
            return;
        };
        for entry in &table.0 {
            if !self.known.contains(&entry.name.as_str()) {
                let way_out = suggest::way_out(&entry.name, &self.known);
                let message = format!("unknown key; {way_out}");
                let key = self.path.child(&entry.name);
                self.context.note(&entry.place, key, message);
            }
        }
    }

    fn know(&mut self, key: &'static str) {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    fn contents(&self, key: &str, node: &'c Node) -> Contents<'c> {
        match node.typed() {
            Value::Table(table) => Contents::Table(table),
            other => {
                let message = format!("expected a table, found {}", other.kind());
                self.context
                    .note(&node.place, self.path.child(key), message);
                Contents::Broken
            }
        }
    }

    fn child(&self, key: &str, place: &Place, table: Contents<'c>) -> Section<'c> {
        Section {
            context: self.context,
            path: self.path.child(key),
            place: place.clone(),
            table,
            known: Vec::new(),
        }
    }
}

impl<'c> Field<'c> {
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.context
            .note(&self.node.place, self.path.clone(), message);
    }

    /// The value for a key that takes strings only.
    pub(super) fn text(&self) -> Result<Text, String> {
        self.text_as("a string")
    }

    /// The same, for a string of a certain form.
    pub(super) fn text_as(&self, expected: &str) -> Result<Text, String> {
        match &self.node.value {
            Value::String(text) | Value::Variable { text, .. } => self.interpolate(text),
            other => Err(format!("expected {expected}, found {}", other.kind())),
        }
    }

    /// The value for a key that takes other types than strings, or several.
    pub(super) fn typed(&self) -> &'c Value {
        self.node.typed()
    }

    /// Another handle on the same value.
    pub(super) fn itself(&self) -> Field<'c> {
        self.item(self.node)
    }

    /// One value within this one, under the same key.
    pub(super) fn item(&self, node: &'c Node) -> Field<'c> {
        Field {
            context: self.context,
            path: self.path.clone(),
            node,
        }
    }

    /// One value of a table within this one.
    pub(super) fn entry(&self, name: &str, node: &'c Node) -> Field<'c> {
        Field {
            context: self.context,
            path: self.path.child(name),
            node,
        }
    }

    pub(super) fn interpolate(&self, text: &str) -> Result<Text, String> {
        let text = interpolate(text, &self.context.variables)?;
        if text.secret {
            self.context.hidden.borrow_mut().insert(self.path.clone());
        }
        Ok(text)
    }
}
