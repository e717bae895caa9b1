//! What an author writes: [`Projection`], and the few types in its signatures.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use crate::bindings::exports::projectionist::plugin::projection::{Encoding, Ownership};
use crate::event::Event;
use crate::ids::Ids;

/// Folds events into the documents of one view.
///
/// A projection is a pure function of its configuration, the event and the document: the host may
/// fold an event again after a crash, and cuts batches where it likes. What it remembers outside
/// of documents would make the result depend on that.
pub trait Projection: Sized + 'static {
    /// Names the plugin in messages, metrics and each document's provenance.
    const NAME: &'static str;
    /// The plugin's own version; most take `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// What the documents are, for people: a line or two.
    const DESCRIPTION: &'static str = "";
    /// The view that holds the documents.
    const VIEW: &'static str;
    /// With [`Ownership::ByKey`] a document's id must be its event's key, which the host checks.
    const OWNERSHIP: Ownership = Ownership::ByKey;
    /// How documents go to the host and back: see the crate's page. Events are always JSON.
    const ENCODING: Encoding = Encoding::Json;
    /// The headers that the projection reads; the host passes no others.
    const HEADERS: &'static [&'static str] = &[];
    /// JSON Schema of [`Config`](Self::Config), which the host holds the
    /// configuration against before it configures the projection.
    const CONFIG_SCHEMA: &'static str = "";

    /// The table `config` of the projection in the host's config file. [`NoConfig`] takes none.
    type Config: DeserializeOwned;
    /// An event's value, read from JSON. It may borrow from the event: see the crate's page.
    type Event<'a>: Deserialize<'a>;
    /// A stored document: what serde reads from a JSON object and writes as one, also where
    /// [`ENCODING`](Self::ENCODING) is BSON.
    ///
    /// The host adds the fields `_id` and `_m`; a document cannot have fields of these names.
    type Document: Serialize + DeserializeOwned;

    /// Makes the projection from its configuration.
    ///
    /// # Errors
    /// What is wrong with the configuration, for whoever wrote it.
    fn new(config: Self::Config) -> Result<Self, String>;

    /// Adds the ids of all documents that this event may change.
    ///
    /// As it stands: the event's key; an event without one changes nothing. An event that adds no
    /// id costs least: it is neither folded nor is anything stored for it.
    ///
    /// # Errors
    /// A [`Reject`] sets the event aside, as in [`fold`](Self::fold).
    fn ids<'a>(&self, event: &Event<'a, Self::Event<'a>>, ids: &mut Ids<'_>) -> Result<(), Reject> {
        if let Some(key) = event.key_str()? {
            ids.add(key);
        }
        Ok(())
    }

    /// Changes one document by one event; called once for each id that the event added.
    ///
    /// `document` is `None` where none exists, and leaving or setting it so means that none shall.
    ///
    /// # Errors
    /// A [`Reject`] says that this event cannot be folded, now or ever. What the call has done to
    /// the document by then is undone, and what it has sent is not sent.
    fn fold<'a>(
        &self,
        event: &Event<'a, Self::Event<'a>>,
        id: &str,
        document: &mut Option<Self::Document>,
    ) -> Result<(), Reject>;
}

/// Why an event cannot be folded, for whoever has to mend it.
///
/// Any error turns into one by `?`.
pub struct Reject(String);

/// The configuration of a projection that has no settings: any that is given is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

impl Reject {
    pub fn because(reason: impl fmt::Display) -> Self {
        Reject(reason.to_string())
    }

    pub(crate) fn into_reason(self) -> String {
        self.0
    }
}

// No `Error` for `Reject` itself: it would overlap with this conversion.
impl<E: std::error::Error> From<E> for Reject {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        Reject(reason)
    }
}

impl fmt::Debug for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
