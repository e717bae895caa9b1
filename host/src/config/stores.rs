//! `[stores.NAME]`: where views live.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::reader::{Field, Section};
use super::secret::Secret;
use super::values;

/// A place for views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
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
    for (name, store) in section.named_sections() {
        stores.names.push(name);
        if let Err(message) = values::check_name(name) {
            store.own_problem(message);
        }
        if let Some(store) = read_store(store) {
            stores.checked.insert(name.to_owned(), store);
        }
    }
    if stores.names.is_empty() {
        section.miss("add a store, such as [stores.main] with kind, uri and database");
    }
    stores
}

fn read_store(mut section: Section<'_>) -> Option<Store> {
    let way_out = "write \"mongodb\" or \"embedded\"";
    let kind = section.require("kind", way_out, values::choice(&KINDS))?;
    let store = match kind {
        Kind::MongoDb => {
            let way_out =
                "write the server's, such as \"mongodb://localhost:27017/?replicaSet=rs0\"";
            let uri = section.require("uri", way_out, uri);
            let way_out = "name the database for the views";
            let database = section.require("database", way_out, database);
            misplaced(&mut section, "path", "embedded");
            uri.zip(database)
                .map(|(uri, database)| Store::MongoDb { uri, database })
        }
        Kind::Embedded => {
            let context = section.context();
            let way_out = "write where the file shall be, such as \"data/readmodels.db\"";
            let resolve = values::path(|path| context.resolve(path));
            let path = section.require("path", way_out, resolve);
            misplaced(&mut section, "uri", "mongodb");
            misplaced(&mut section, "database", "mongodb");
            path.map(|path| Store::Embedded { path })
        }
    };
    section.finish();
    store
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
