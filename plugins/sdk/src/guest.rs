//! The functions that the host calls, for any projection: what [`export!`](crate::export)
//! is made of. Those of policies are in [`policies`](crate::policies).

use std::cell::RefCell;
use std::sync::Once;

use serde::de::DeserializeOwned;

use crate::bindings::exports::projectionist::plugin::projection::{
    Batch, Descriptor, Output, View,
};
use crate::bindings::projectionist::plugin::documents;
use crate::column::Column;
use crate::fold::{self, Documents};
use crate::projection::Projection;

/// Where a plugin keeps its projection, or its policy, between two calls.
pub type Configured<P> = RefCell<Option<P>>;

/// The documents of the plugin's only view, asked of the host.
struct HostDocuments;

impl Documents for HostDocuments {
    fn get_many(&mut self, ids: &Column) -> Column {
        documents::get_many(0, ids)
    }
}

pub fn describe<P: Projection>() -> Descriptor {
    report_panics();
    Descriptor {
        name: P::NAME.to_owned(),
        version: P::VERSION.to_owned(),
        description: P::DESCRIPTION.to_owned(),
        encoding: P::ENCODING,
        views: vec![View {
            name: P::VIEW.to_owned(),
            ownership: P::OWNERSHIP,
        }],
        headers: P::HEADERS.iter().map(|&name| name.to_owned()).collect(),
        config_schema: P::CONFIG_SCHEMA.to_owned(),
    }
}

pub fn configure<P: Projection>(slot: &Configured<P>, config: &str) -> Result<(), String> {
    report_panics();
    let projection = from_config(config)?;
    slot.replace(Some(projection));
    Ok(())
}

pub fn project<P: Projection>(slot: &Configured<P>, batch: &Batch) -> Result<Output, String> {
    report_panics();
    let projection = slot.borrow();
    let projection = projection
        .as_ref()
        .ok_or("project was called before configure")?;
    fold::project(projection, batch, &mut HostDocuments)
}

/// Makes a projection from the text of its configuration.
pub(crate) fn from_config<P: Projection>(config: &str) -> Result<P, String> {
    P::new(read_config(P::NAME, config)?)
}

/// Reads the configuration of the plugin `name`; no text is an empty object.
pub(crate) fn read_config<C: DeserializeOwned>(name: &str, config: &str) -> Result<C, String> {
    let config = match config.trim() {
        "" => "{}",
        config => config,
    };
    serde_json::from_str(config)
        .map_err(|error| format!("the configuration is not what {name} reads: {error}"))
}

/// A panic ends in a trap, which has no text: the text goes to the log before it.
pub(crate) fn report_panics() {
    static ONCE: Once = Once::new();
    if cfg!(target_family = "wasm") {
        ONCE.call_once(|| {
            std::panic::set_hook(Box::new(|panic| crate::host::error(panic)));
        });
    }
}
