//! Whom limits are counted for.

use std::fmt;
use std::sync::Arc;

use super::peer::Network;

/// One client. A token, a subject of JWTs and an address of the same text are three.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// Whoever needs no token, or has none that is right.
    Network(Network),
    /// A token of the configuration, by its name.
    Token(Arc<str>),
    /// A JWT's `sub`.
    Subject(Arc<str>),
    /// All those for whom there is no room to count them apart.
    Others,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::Network(network) => network.fmt(f),
            Client::Token(name) => write!(f, "token {name}"),
            Client::Subject(name) => write!(f, "sub {}", name.escape_debug()),
            Client::Others => f.write_str("others"),
        }
    }
}
