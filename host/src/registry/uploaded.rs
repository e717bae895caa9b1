//! A plugin as it is kept and shown: what it is, and who brought it when.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::plugin::About;
use crate::store::{Entry, Table};
use crate::unix_time::now_ms;

/// What the ids of all these entries start with.
pub(super) const PREFIX: &str = "about/";

/// A plugin that is in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    #[serde(flatten)]
    pub about: About,
    /// Unix time.
    pub uploaded_at_ms: i64,
    /// Whose token it was.
    pub uploaded_by: String,
}

/// The id of a plugin's entry.
pub(super) fn id(hash: &str) -> Arc<str> {
    format!("{PREFIX}{hash}").into()
}

impl Uploaded {
    pub(super) fn now(about: &About, by: &str) -> Self {
        Uploaded {
            about: about.clone(),
            uploaded_at_ms: now_ms(),
            uploaded_by: by.to_owned(),
        }
    }

    /// As JSON text beside a few fields for those who look into the store: a schema has keys such
    /// as `$ref`, which not every MongoDB takes.
    pub(super) fn to_entry(&self) -> Entry {
        let about = serde_json::to_string(self).expect("plain data serializes");
        Entry {
            table: Table::Plugins,
            id: id(&self.about.sha256),
            body: bson::rawdoc! {
                "name": self.about.name.as_str(),
                "version": self.about.version.as_str(),
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
