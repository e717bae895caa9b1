//! What a plugin is for, told by the one interface of the contract that it exports.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A world of `wit/plugin.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Folds events into documents.
    Projection,
    /// Says where keys live.
    Placement,
    /// Says who answers a read.
    Routing,
}

impl Kind {
    /// By the name of its interface in the contract.
    pub(super) fn of_interface(name: &str) -> Option<Self> {
        match name {
            "projection" => Some(Kind::Projection),
            "placement" => Some(Kind::Placement),
            "routing" => Some(Kind::Routing),
            _ => None,
        }
    }
}

/// As in "it is a placement policy".
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Projection => "projection",
            Kind::Placement => "placement policy",
            Kind::Routing => "routing policy",
        })
    }
}
