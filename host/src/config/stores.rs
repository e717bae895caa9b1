//! `[stores.NAME]`: where views live, and `[stores.NAME.copies.COPY]`: where else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::effective::{duration, path, secret, table, text};
use super::reader::{Field, Section};
use super::routing::{self, Routing};
use super::secret::Secret;
use super::values;

/// A place for views, and the copies of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// At least one. The first has the store's own name, and keeps what is not kept twice: plugins,
    /// deployments, the log of changes, messages on their way.
    pub copies: Vec<Copy>,
    /// Who picks the copy that answers a read; `None` for turns.
    pub routing: Option<Routing>,
    /// A copy that lags behind the others for so long is not read, unless nothing else is left; 5 s
    /// by default.
    pub stale_after: Duration,
}

/// A database with all views of its store, kept current by consumer groups of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// Unique among all copies of all stores.
    pub name: String,
    pub location: Location,
    /// Its share of reads beside those of the others; 1 by default.
    pub weight: u32,
}

/// Where a copy lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A replica set or sharded cluster: transactions need one.
    MongoDb {
        /// Starts with `mongodb://` or `mongodb+srv://`; hidden where it holds credentials.
        uri: Secret,
        database: String,
    },
    /// A file of this machine, for trying out and for plugin development.
    Embedded {
        /// Relative paths have been resolved against the configuration's folder.
        path: PathBuf,
    },
}

#[derive(Clone, Copy)]
enum Kind {
    MongoDb,
    Embedded,
}

const KINDS: [(&str, Kind); 2] = [("mongodb", Kind::MongoDb), ("embedded", Kind::Embedded)];

const WEIGHT: u32 = 1;
const STALE_AFTER: Duration = Duration::from_secs(5);

/// MongoDB's limits on the name of a database, on every platform.
const DATABASE_LEN_MAX: usize = 63;
const DATABASE_FORBIDDEN: &str = "/\\. \"$*<>:|?";
const DATABASES_OF_MONGODB: [&str; 3] = ["admin", "config", "local"];

/// The stores that are right, and the names of all of them.
pub(super) struct Stores<'c> {
    pub(super) checked: BTreeMap<String, Store>,
    pub(super) names: Vec<&'c str>,
}

pub(super) fn read<'c>(section: Section<'c>) -> Stores<'c> {
    let mut stores = Stores {
        checked: BTreeMap::new(),
        names: Vec::new(),
    };
    let sections = section.named_sections();
    // A copy may become a store of its own one day, under its name.
    let mut copies: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
    for (name, store) in sections {
        stores.names.push(name);
        if let Err(message) = values::check_name(name) {
            store.own_problem(message);
        }
        if let Some(store) = read_store(name, store, &mut copies) {
            stores.checked.insert(name.to_owned(), store);
        }
    }
    check_letters(&section, &stores.checked);
    if stores.names.is_empty() {
        section.miss("add a store, such as [stores.main] with kind, uri and database");
    }
    stores
}

/// A MongoDB has no two databases whose names differ in capitals alone.
fn check_letters(section: &Section<'_>, stores: &BTreeMap<String, Store>) {
    let copies = stores.values().flat_map(|store| &store.copies);
    let databases = copies.filter_map(|copy| match &copy.location {
        Location::MongoDb { uri, database } => Some((&copy.name, uri, database)),
        Location::Embedded { .. } => None,
    });
    let databases: Vec<_> = databases.collect();
    for (index, (name, uri, database)) in databases.iter().enumerate() {
        let same = |(_, other_uri, other): &&(&String, &Secret, &String)| {
            let alike = other.eq_ignore_ascii_case(database);
            other_uri.expose() == uri.expose() && alike && other != database
        };
        if let Some((other, _, theirs)) = databases[..index].iter().find(same) {
            section.own_problem(format!(
                "the databases {theirs:?} of {other:?} and {database:?} of {name:?} differ in \
                 capitals alone, which one server does not take; write them alike, or give one \
                 another name"
            ));
        }
    }
}

/// `names` are those of all copies so far.
fn read_store<'c>(name: &str, mut section: Section<'c>, names: &mut Vec<&'c str>) -> Option<Store> {
    let way_out = "write \"mongodb\" or \"embedded\"";
    let kind = section.require("kind", way_out, values::choice(&KINDS))?;
    let mut copies: Vec<Copy> = read_copy(name, kind, &mut section).into_iter().collect();
    let mut is_right = copies.len() == 1;
    let further = section.section("copies");
    let is_alone = further.is_absent();
    for (name, mut further) in further.named_sections() {
        if let Err(message) = values::check_name(name) {
            further.own_problem(message);
        }
        if names.contains(&name) {
            further.own_problem("another copy or store has this name; give it another");
        }
        names.push(name);
        let kind = further.read("kind", values::choice(&KINDS)).unwrap_or(kind);
        let copy = read_copy(name, kind, &mut further);
        let same = |copy: &Copy| copies.iter().find(|other| other.location == copy.location);
        if let Some(other) = copy.as_ref().and_then(same) {
            further.own_problem(format!(
                "is the same database as copy {:?}; name another one, or remove this copy",
                other.name
            ));
        }
        further.finish();
        is_right &= copy.is_some();
        copies.extend(copy);
    }
    let routing = routing::read(section.section("routing"), is_alone);
    let stale_after = section.read("stale-after", values::duration);
    for key in ["weight", "stale-after"] {
        if is_alone && section.field(key).is_some() {
            let message = format!(
                "there is one copy, so nothing can be picked; add [stores.{name}.copies.NAME], or \
                 remove this key"
            );
            section.problem(key, message);
        }
    }
    section.finish();
    is_right.then_some(Store {
        copies,
        routing,
        stale_after: stale_after.unwrap_or(STALE_AFTER),
    })
}

fn read_copy(name: &str, kind: Kind, section: &mut Section<'_>) -> Option<Copy> {
    let weight = section.read("weight", values::count);
    let location = match kind {
        Kind::MongoDb => {
            let way_out =
                "write the server's, such as \"mongodb://localhost:27017/?replicaSet=rs0\"";
            let uri = section.require("uri", way_out, uri);
            let way_out = "name the database for the views";
            let database = section.require("database", way_out, database);
            misplaced(section, "path", "embedded");
            uri.zip(database)
                .map(|(uri, database)| Location::MongoDb { uri, database })
        }
        Kind::Embedded => {
            let context = section.context();
            let way_out = "write where the file shall be, such as \"data/readmodels.db\"";
            let resolve = values::path(|path| context.resolve(path));
            let path = section.require("path", way_out, resolve);
            misplaced(section, "uri", "mongodb");
            misplaced(section, "database", "mongodb");
            path.map(|path| Location::Embedded { path })
        }
    };
    Some(Copy {
        name: name.to_owned(),
        location: location?,
        weight: weight.unwrap_or(WEIGHT),
    })
}

impl Store {
    /// The copy that has the store's name.
    pub fn first(&self) -> &Copy {
        self.copies.first().expect("there is one at least")
    }

    /// The others.
    pub fn further(&self) -> &[Copy] {
        &self.copies[1..]
    }
}

fn misplaced(section: &mut Section<'_>, key: &'static str, kind: &str) {
    if section.field(key).is_some() {
        section.problem(
            key,
            format!("belongs to a store of kind {kind:?}; remove it"),
        );
    }
}

/// Messages never show it: it may hold a password.
fn uri(field: &Field<'_>) -> Result<Secret, String> {
    let text = field.text()?;
    let rest = ["mongodb://", "mongodb+srv://"]
        .iter()
        .find_map(|scheme| text.text.strip_prefix(scheme));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with(['/', '?'])) {
        return Err("must start with mongodb:// or mongodb+srv:// and a server's name".to_owned());
    }
    let lower = text.text.to_lowercase();
    let credentials = ["@", "password", "token", "secret"];
    let hidden = text.secret || credentials.iter().any(|part| lower.contains(part));
    Ok(if hidden {
        Secret::hidden(text.text)
    } else {
        Secret::open(text.text)
    })
}

fn database(field: &Field<'_>) -> Result<String, String> {
    let text = field.text()?;
    let name = &text.text;
    let quoted = text.quoted();
    if name.is_empty() || name.len() > DATABASE_LEN_MAX {
        return Err(format!("must have from 1 to {DATABASE_LEN_MAX} bytes"));
    }
    if name.contains(|c: char| c.is_control() || DATABASE_FORBIDDEN.contains(c)) {
        return Err(format!(
            "{quoted} is no database name; MongoDB forbids blanks and any of {}",
            DATABASE_FORBIDDEN.replace(' ', "")
        ));
    }
    if DATABASES_OF_MONGODB.contains(&name.as_str()) {
        return Err(format!("{quoted} belongs to MongoDB itself; name another"));
    }
    Ok(text.text)
}

pub(super) fn to_toml(store: &Store) -> Table {
    if store.further().is_empty() {
        return location(&store.first().location);
    }
    let mut entries = copy(store.first());
    let further = store.further().iter();
    let further = further.map(|further| (further.name.clone(), copy(further).into()));
    entries.insert("copies".to_owned(), Value::Table(further.collect()));
    entries.insert("stale-after".to_owned(), duration(store.stale_after));
    if let Some(routing) = &store.routing {
        entries.insert("routing".to_owned(), routing::to_toml(routing).into());
    }
    entries
}

fn copy(copy: &Copy) -> Table {
    let mut entries = location(&copy.location);
    entries.insert("weight".to_owned(), Value::from(copy.weight));
    entries
}

fn location(location: &Location) -> Table {
    match location {
        Location::MongoDb { uri, database } => table([
            ("kind", text("mongodb")),
            ("uri", secret(uri)),
            ("database", text(database)),
        ]),
        Location::Embedded { path: file } => {
            table([("kind", text("embedded")), ("path", path(file))])
        }
    }
}
