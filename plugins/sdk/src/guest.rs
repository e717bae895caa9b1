//! The three functions that the host calls, for any projection: what [`export!`](crate::export)
//! is made of.

use std::cell::RefCell;
use std::sync::Once;

use crate::bindings::exports::projectionist::plugin::projection::{
    Batch, Descriptor, Encoding, Output, View,
};
use crate::bindings::projectionist::plugin::documents;
use crate::column::Column;
use crate::fold::{self, Documents};
use crate::projection::Projection;

/// Where a plugin keeps its projection between two calls.
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
        encoding: Encoding::Json,
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

/// Makes a projection from the text of its configuration; no text is an empty object.
pub(crate) fn from_config<P: Projection>(config: &str) -> Result<P, String> {
    let config = match config.trim() {
        "" => "{}",
        config => config,
    };
    let config = serde_json::from_str(config)
        .map_err(|error| format!("the configuration is not what {} reads: {error}", P::NAME))?;
    P::new(config)
}

/// A panic ends in a trap, which has no text: the text goes to the log before it.
fn report_panics() {
    static ONCE: Once = Once::new();
    if cfg!(target_family = "wasm") {
        ONCE.call_once(|| {
            std::panic::set_hook(Box::new(|panic| crate::host::error(panic)));
        });
    }
}
