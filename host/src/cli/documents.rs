//! `projectionist get` and `list`: a look at stored documents.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::output::{print_json, say};
use super::{ConfigFile, Failure, load, runtime};
use crate::app::{Catalogue, open_store};
use crate::document;
use crate::projection::DocumentId;
use crate::store::envelope::seal;
use crate::store::{self, Store, StoredDocument, ViewId};

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

/// Documents that are counted behind those that are printed, a page at a time.
const COUNTED_PAGE: usize = 500;
const COUNTED_PAGES_MAX: usize = 20;

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
            print_document(text)?;
            Ok(())
        })
    }
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        runtime()?.block_on(async {
            let (store, view) = open(&self.file, &self.view, self.copy.as_deref()).await?;
            let found = store.scan(&view, self.after.as_deref(), self.limit).await;
            let left = match &found {
                Ok(found) => left_out(&*store, &view, found, self.limit).await,
                Err(_) => Ok(Left::default()),
            };
            store.close().await;
            let found = found?;
            for (id, document) in &found {
                let text = document::to_json(&seal(id, document));
                print_document(text)?;
            }
            if let (Some((last, _)), Some(left)) = (found.last(), left?.told()) {
                say(&format!(
                    "… and {left}; --after {} goes on behind the last one, --limit takes more at \
                     once",
                    quoted(last)
                ));
            }
            Ok(())
        })
    }
}

/// Documents behind those that are printed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    counted: usize,
    /// There are others, that were not counted.
    more: bool,
}

impl Left {
    fn told(&self) -> Option<String> {
        match (self.counted, self.more) {
            (0, false) => None,
            (counted, true) => Some(format!("more than {counted} others")),
            (1, false) => Some("1 other".to_owned()),
            (counted, false) => Some(format!("{counted} others")),
        }
    }
}

/// Counts what follows a page, as far as that takes no time worth mentioning.
async fn left_out(
    store: &dyn Store,
    view: &ViewId,
    printed: &[(DocumentId, StoredDocument)],
    limit: usize,
) -> Result<Left, store::Error> {
    let mut left = Left::default();
    let Some((last, _)) = printed.last() else {
        return Ok(left);
    };
    let mut last = Arc::clone(last);
    if printed.len() < limit {
        return Ok(left);
    }
    for _ in 0..COUNTED_PAGES_MAX {
        let page = store.scan(view, Some(&last), COUNTED_PAGE).await?;
        left.counted += page.len();
        left.more = page.len() == COUNTED_PAGE;
        match page.into_iter().last() {
            Some((id, _)) if left.more => last = id,
            Some(_) | None => break,
        }
    }
    Ok(left)
}

/// An id as a shell takes it.
fn quoted(id: &str) -> String {
    format!("'{}'", id.replace('\'', r"'\''"))
}

fn print_document<E>(json: Result<Vec<u8>, E>) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let json = json.context("cannot write the document")?;
    print_json(std::str::from_utf8(&json).context("JSON is UTF-8")?)
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
