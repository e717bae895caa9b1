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
    /// The copy to look into, rather than the store's first one
    #[arg(long)]
    copy: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The view's name
    view: String,
    #[command(flatten)]
    file: ConfigFile,
    /// The copy to look into, rather than the store's first one
    #[arg(long)]
    copy: Option<String>,
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
            let (store, view) = open(&self.file, &self.view, self.copy.as_deref()).await?;
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
            let (store, view) = open(&self.file, &self.view, self.copy.as_deref()).await?;
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

/// A store that keeps a view.
async fn open(
    file: &ConfigFile,
    view: &str,
    copy: Option<&str>,
) -> Result<(Arc<dyn Store>, ViewId), Failure> {
    let config = load(&file.config)?;
    let catalogue = Catalogue::load(&config)?;
    let (store, id) = catalogue.store_of(view).ok_or_else(|| {
        let names = catalogue.view_names().join(", ");
        anyhow!("there is no view \"{view}\"; the configuration's projections keep: {names}")
    })?;
    let store = &config.stores[store];
    let copy = match copy {
        None => store.first(),
        Some(name) => {
            let copy = store.copies.iter().find(|copy| copy.name == name);
            copy.ok_or_else(|| {
                let names: Vec<&str> = store.copies.iter().map(|copy| &*copy.name).collect();
                let names = names.join(", ");
                anyhow!("there is no copy \"{name}\" of view \"{view}\"; there are {names}")
            })?
        }
    };
    let opened = open_store(copy).await?;
    Ok((opened, id))
}
