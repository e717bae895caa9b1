//! The folds of the projections of the benchmark as native code, without the SDK around them: what
//! [`native`](crate::native) contenders fold with.

mod aircraft;
mod latest;
mod pairs;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use aircraft::Fleet;
pub use latest::Latest;
pub use pairs::Pairs;

/// Folds events into documents.
pub trait Fold: Send + 'static {
    type Event<'a>: Deserialize<'a>;
    type Document: Default + Serialize + DeserializeOwned + Send;

    /// Names the documents that an event changes: one, or two.
    fn ids<'a>(key: &'a str, event: &'a Self::Event<'_>) -> (&'a str, Option<&'a str>);

    fn fold(&self, event: &Self::Event<'_>, id: &str, document: &mut Self::Document);
}

#[cfg(test)]
mod tests;
