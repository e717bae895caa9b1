//! What a plugin file is: all that the host knows of it without running it on events.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::projection::{self, Descriptor, Encoding, Ownership};

use super::kind::Kind;

/// A plugin file that has passed every check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Of the file, in hexadecimal digits.
    pub sha256: String,
    /// Of the file.
    pub size_bytes: u64,
    pub kind: Kind,
    pub name: String,
    pub version: String,
    /// A line or two for people; may be empty.
    pub description: String,
    /// What it is written in, as far as its tools left a note of it in the file.
    pub language: Option<String>,
    /// JSON Schema of its configuration.
    pub config_schema: Option<serde_json::Value>,
    /// There for a projection, and for nothing else.
    pub projection: Option<AboutProjection>,
}

/// What only a projection has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutProjection {
    pub encoding: Encoding,
    pub views: Vec<AboutView>,
    /// Headers that it wants to see.
    pub headers: Vec<String>,
}

/// A view that a projection declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutView {
    pub name: String,
    pub ownership: Ownership,
}

/// What a plugin says of itself, checked.
pub(super) enum Description {
    Projection(projection::Descriptor),
    Policy(PolicyDescriptor),
}

/// What a policy says of itself, checked.
pub(super) struct PolicyDescriptor {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) config_schema: String,
}

impl About {
    pub(super) fn new(
        bytes: &[u8],
        kind: Kind,
        language: Option<String>,
        description: &Description,
    ) -> Self {
        let (name, version, text, schema) = match description {
            Description::Projection(d) => (&d.name, &d.version, &d.description, &d.config_schema),
            Description::Policy(p) => (&p.name, &p.version, &p.description, &p.config_schema),
        };
        About {
            sha256: sha256(bytes),
            size_bytes: bytes.len() as u64,
            kind,
            name: name.clone(),
            version: version.clone(),
            description: text.clone(),
            language,
            config_schema: (!schema.is_empty())
                .then(|| serde_json::from_str(schema).expect("it was checked to be JSON")),
            projection: match description {
                Description::Projection(descriptor) => Some(AboutProjection::new(descriptor)),
                Description::Policy(_) => None,
            },
        }
    }

    /// What a projection said of itself. `None` for another kind of plugin.
    pub(super) fn descriptor(&self) -> Option<Descriptor> {
        let projection = self.projection.as_ref()?;
        let view = |view: &AboutView| projection::View {
            name: view.name.as_str().into(),
            ownership: view.ownership,
        };
        let schema = self.config_schema.as_ref();
        Some(Descriptor {
            name: self.name.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            encoding: projection.encoding,
            views: projection.views.iter().map(view).collect(),
            headers: projection.headers.clone(),
            config_schema: schema.map_or_else(String::new, ToString::to_string),
        })
    }
}

impl AboutProjection {
    fn new(descriptor: &projection::Descriptor) -> Self {
        let view = |view: &projection::View| AboutView {
            name: view.name.to_string(),
            ownership: view.ownership,
        };
        AboutProjection {
            encoding: descriptor.encoding,
            views: descriptor.views.iter().map(view).collect(),
            headers: descriptor.headers.clone(),
        }
    }
}

/// In hexadecimal digits: what names a plugin file.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
