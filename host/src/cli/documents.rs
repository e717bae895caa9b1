//! `projectionist get` and `list`: a look at stored documents.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::{ConfigFile, Failure, load, print_line, runtime};
use crate::app::{Catalogue, open_store};
use crate::document;
use crate::projection::DocumentId;
use crate::store::envelope::seal;
use crate::store::{Store, ViewId};

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The view's name
    view: String,
    /// The document's id
    id: String,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The view's name
    view: String,
    #[command(flatten)]
    file: ConfigFile,
    /// How many documents to print at most
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Start behind this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

impl Get {
    pub(super) fn run(self) -> Result<(), Failure> {
        let id = DocumentId::from(self.id.as_str());
        runtime()?.block_on(async {
            let (store, view) = open(&self.file, &self.view).await?;
            let found = store.load(&view, &[Arc::clone(&id)]).await;
            store.close().await;
            let found = found?.pop().flatten();
            let found = found.ok_or_else(|| {
                anyhow!(
                    "view \"{}\" has no document \"{}\" in {}",
                    self.view,
                    self.id,
                    store.address()
                )
            })?;
            let text = document::to_json_pretty(&seal(&id, &found));
            print_line(&text.context("cannot write the document")?)?;
            Ok(())
        })
    }
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        runtime()?.block_on(async {
            let (store, view) = open(&self.file, &self.view).await?;
            let found = store.scan(&view, self.after.as_deref(), self.limit).await;
            store.close().await;
            for (id, document) in found? {
                let text = document::to_json(&seal(&id, &document));
                print_line(&text.context("cannot write the document")?)?;
            }
            Ok(())
        })
    }
}

/// The store that keeps a view.
async fn open(file: &ConfigFile, view: &str) -> Result<(Arc<dyn Store>, ViewId), Failure> {
    let config = load(&file.config)?;
    let catalogue = Catalogue::load(&config)?;
    let (store, id) = catalogue.store_of(view).ok_or_else(|| {
        let names = catalogue.view_names().join(", ");
        anyhow!("there is no view \"{view}\"; the configuration's projections keep: {names}")
    })?;
    let opened = open_store(&config.stores[store]).await?;
    Ok((opened, id))
}
