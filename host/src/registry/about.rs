//! What is known of a plugin without running it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Checked, Error};
use crate::projection::{Encoding, Ownership};
use crate::store::{Entry, Table};

/// What the ids of all these entries start with.
pub(super) const PREFIX: &str = "about/";

/// One plugin, as it is stored and as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    pub hash: String,
    pub kind: Kind,
    pub name: String,
    pub version: String,
    /// What its documents are, for people. May be empty.
    pub description: String,
    /// How it sees and writes documents: "json" or "bson".
    pub encoding: String,
    pub views: Vec<View>,
    /// Headers that it wants to see.
    pub headers: Vec<String>,
    /// JSON Schema of its configuration; null where it has none.
    pub config_schema: Value,
    /// Size of the file.
    pub bytes: u64,
    /// Unix time.
    pub uploaded_at_ms: i64,
    pub uploaded_by: String,
}

/// What a plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Projection,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub name: String,
    /// Who writes its documents: "by-key" or "shared".
    pub ownership: String,
}

/// The id of a plugin's entry.
pub(super) fn id(hash: &str) -> Arc<str> {
    format!("{PREFIX}{hash}").into()
}

impl About {
    /// Of a plugin that is uploaded now.
    pub(super) fn new(checked: &Checked, bytes: usize, by: &str) -> Self {
        let descriptor = &checked.descriptor;
        let views = descriptor.views.iter().map(|view| View {
            name: view.name.to_string(),
            ownership: match view.ownership {
                Ownership::ByKey => "by-key".to_owned(),
                Ownership::Shared => "shared".to_owned(),
            },
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        About {
            hash: checked.hash.to_string(),
            kind: Kind::Projection,
            name: descriptor.name.clone(),
            version: descriptor.version.clone(),
            description: descriptor.description.clone(),
            encoding: match descriptor.encoding {
                Encoding::Json => "json".to_owned(),
                Encoding::Bson => "bson".to_owned(),
            },
            views: views.collect(),
            headers: descriptor.headers.clone(),
            // The checks have seen that it is JSON, where there is one.
            config_schema: serde_json::from_str(&descriptor.config_schema).unwrap_or_default(),
            bytes: bytes as u64,
            uploaded_at_ms: now_ms,
            uploaded_by: by.to_owned(),
        }
    }

    /// As JSON text beside a few fields for those who look into the store: a schema has keys such
    /// as `$ref`, which not every MongoDB takes.
    pub(super) fn to_entry(&self) -> Entry {
        let about = serde_json::to_string(self).expect("plain data serializes");
        Entry {
            table: Table::Plugins,
            id: id(&self.hash),
            body: bson::rawdoc! {
                "name": self.name.as_str(),
                "version": self.version.as_str(),
                "about": about,
            },
        }
    }

    pub(super) fn from_entry(entry: &Entry) -> Result<Self, Error> {
        let about = entry.body.get_str("about");
        let about = about.map_err(|error| Error::unreadable(entry, &error))?;
        serde_json::from_str(about).map_err(|error| Error::unreadable(entry, &error))
    }
}
