//! The plugins that were uploaded, by their content.
//!
//! In `_plugins`, so that every host of the store finds them:
//! - `bytes/{sha256}/{number}`: the file, in pieces.
//! - `about/{sha256}`: what is known of it, put when all pieces are there.
//!
//! Guarantees:
//! - A plugin is there as a whole or not at all: an upload that ended half-way is not seen, and
//!   the next upload of the same file replaces what it left.
//! - What is there does not change until it is removed as a whole. To save it again is no error, and leaves who came first as the
//!   uploader (but for two who save the same file at the same moment: one of them stays).
//! - Bytes that come back have the hash that was asked for.
//!
//! Not here: whether a file is a plugin at all (`plugin`), and who runs it.

use std::sync::Arc;

use bson::Binary;
use bson::rawdoc;
use bson::spec::BinarySubtype;
use sha2::{Digest, Sha256};

use crate::plugin::About;
use crate::store::{self, Entry, Store, Table, User, all_entries, apart};

pub mod upload;
mod uploaded;

pub use uploaded::Uploaded;

/// An entry holds at most 16 MiB.
const PIECE_BYTES: usize = 8 << 20;

/// Fewer would name one of a few plugins by chance.
const PREFIX_LEN_MIN: usize = 4;

/// Digits of a whole hash.
const HASH_LEN: usize = 64;

/// The plugins of one store.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
}

/// What saving a plugin came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub plugin: Uploaded,
    /// False where it was there already.
    pub is_new: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(
        "\"{0}\" is no plugin's hash; write its SHA-256 in lower-case hexadecimal digits, or the \
         first {PREFIX_LEN_MIN} of them at least"
    )]
    BadHash(String),
    #[error("there is no plugin {0}; \"projectionist plugin list\" shows those that are uploaded")]
    NotFound(String),
    #[error("{prefix} is the start of several plugins' hashes, {}; write more of it", .hashes.join(" and "))]
    Ambiguous { prefix: String, hashes: Vec<String> },
    #[error("entry \"{id}\" of {table} cannot be read: {message}", table = Table::Plugins)]
    Unreadable { id: String, message: String },
    #[error(
        "plugin {0} is damaged: its bytes in {table} do not have this hash; remove its entries \
         there, and upload it again",
        table = Table::Plugins
    )]
    Damaged(String),
}

impl Registry {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Registry { store }
    }

    /// The same as operators use it.
    #[must_use]
    pub fn for_operators(&self) -> Self {
        Registry::new(apart(&self.store, User::Operators))
    }

    /// Keeps a plugin. `about` is what the checks have found, and `by` is who asks for it.
    pub async fn save(&self, about: &About, bytes: &[u8], by: &str) -> Result<Saved, Error> {
        let hash = &about.sha256;
        if let Some(plugin) = self.get(hash).await? {
            let is_new = false;
            return Ok(Saved { plugin, is_new });
        }
        for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
            let piece = Binary {
                subtype: BinarySubtype::Generic,
                bytes: piece.to_vec(),
            };
            let entry = Entry {
                table: Table::Plugins,
                id: format!("{}{number:04}", pieces_prefix(hash)).into(),
                body: rawdoc! { "bytes": piece },
            };
            self.store.put_entry(&entry).await?;
        }
        let plugin = Uploaded::now(about, by);
        self.store.put_entry(&plugin.to_entry()).await?;
        let is_new = true;
        Ok(Saved { plugin, is_new })
    }

    /// All plugins, in the order of their hashes.
    pub async fn list(&self) -> Result<Vec<Uploaded>, Error> {
        let entries = all_entries(&*self.store, Table::Plugins, uploaded::PREFIX, None).await?;
        entries.iter().map(Uploaded::from_entry).collect()
    }

    /// The plugin with this hash, or the only one whose hash starts so.
    pub async fn find(&self, hash: &str) -> Result<Uploaded, Error> {
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let fits = (PREFIX_LEN_MIN..=HASH_LEN).contains(&hash.len());
        if !fits || !hash.chars().all(is_digit) {
            return Err(Error::BadHash(hash.to_owned()));
        }
        let prefix = format!("{}{hash}", uploaded::PREFIX);
        let mut found: Vec<Uploaded> = Vec::new();
        let mut after: Option<Arc<str>> = None;
        // Two are enough to know that one does not stand alone.
        while found.len() < 2 {
            let left = 2 - found.len();
            let page = self
                .store
                .entries(Table::Plugins, &prefix, after.as_deref(), left)
                .await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(Arc::clone(&last.id));
            for entry in &page {
                found.push(Uploaded::from_entry(entry)?);
            }
        }
        if found.len() > 1 {
            return Err(Error::Ambiguous {
                prefix: hash.to_owned(),
                hashes: found
                    .into_iter()
                    .map(|plugin| plugin.about.sha256)
                    .collect(),
            });
        }
        found.pop().ok_or_else(|| Error::NotFound(hash.to_owned()))
    }

    /// The file with this hash, which must be a whole one.
    pub async fn bytes(&self, hash: &str) -> Result<Vec<u8>, Error> {
        let plugin = self.get(hash).await?;
        plugin.ok_or_else(|| Error::NotFound(hash.to_owned()))?;
        let prefix = pieces_prefix(hash);
        let mut bytes = Vec::new();
        let mut after: Option<Arc<str>> = None;
        loop {
            let page = self
                .store
                .entries(Table::Plugins, &prefix, after.as_deref(), 1)
                .await?;
            let Some(entry) = page.into_iter().next() else {
                break;
            };
            let piece = entry.body.get_binary("bytes");
            let piece = piece.map_err(|error| Error::unreadable(&entry, &error))?;
            bytes.extend(piece.bytes);
            after = Some(entry.id);
        }
        // Tens of milliseconds for the largest: not for an async thread.
        let hashed = tokio::task::spawn_blocking(move || (hash_of(&bytes), bytes)).await;
        let (found, bytes) = hashed.expect("hashing does not panic, and is not cancelled");
        if found != hash {
            return Err(Error::Damaged(hash.to_owned()));
        }
        Ok(bytes)
    }

    /// Where the plugins are kept.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// From now on nobody finds the plugin; its pieces are still there.
    pub(crate) async fn hide(&self, plugin: &Uploaded) -> Result<(), Error> {
        let ids = [uploaded::id(&plugin.about.sha256)];
        Ok(self.store.remove_entries(Table::Plugins, &ids).await?)
    }

    /// Takes back that it was hidden.
    pub(crate) async fn show(&self, plugin: &Uploaded) -> Result<(), Error> {
        Ok(self.store.put_entry(&plugin.to_entry()).await?)
    }

    /// Removes the pieces of a plugin that is hidden.
    pub(crate) async fn remove_pieces(&self, plugin: &Uploaded) -> Result<(), Error> {
        let prefix = pieces_prefix(&plugin.about.sha256);
        loop {
            let page = self.store.entries(Table::Plugins, &prefix, None, 1).await?;
            if page.is_empty() {
                return Ok(());
            }
            let ids: Vec<Arc<str>> = page.into_iter().map(|entry| entry.id).collect();
            self.store.remove_entries(Table::Plugins, &ids).await?;
        }
    }

    async fn get(&self, hash: &str) -> Result<Option<Uploaded>, Error> {
        let ids = [uploaded::id(hash)];
        let found = self.store.find_entries(Table::Plugins, &ids).await?;
        found.first().map(Uploaded::from_entry).transpose()
    }
}

/// SHA-256, in lower-case hexadecimal digits.
fn hash_of(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn pieces_prefix(hash: &str) -> String {
    format!("bytes/{hash}/")
}

impl Error {
    /// True where the store did not answer, so that asking again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Store(error) if error.is_transient())
    }

    fn unreadable(entry: &Entry, error: &dyn std::error::Error) -> Self {
        Error::Unreadable {
            id: entry.id.to_string(),
            message: error.to_string(),
        }
    }
}
