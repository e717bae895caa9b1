//! Keys that all hosts of a configuration share, so that each takes what the others have signed.
//!
//! A key is made by the first host that needs it, and kept in the table `_secrets` of the first
//! store. Whoever may read that database can sign as a host does; they read the views there anyway.
//!
//! Guarantee: hosts that start at the same time have the same key.

use bson::raw::RawDocumentBuf;
use bson::spec::BinarySubtype;
use bson::{Binary, rawdoc};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::store::{Entry, Error, Store, Table};

/// Enough for HMAC-SHA256.
pub const KEY_LEN: usize = 32;

pub type Key = [u8; KEY_LEN];

/// A key that nobody else has.
///
/// # Panics
///
/// Where the system has no random numbers.
pub fn random_key() -> Key {
    let mut key = [0; KEY_LEN];
    let filled = SystemRandom::new().fill(&mut key);
    filled.expect("the system has random numbers");
    key
}

/// The key of this name.
///
/// # Errors
/// Those of the store; and where the entry is not as a host has made it.
pub async fn shared_key(store: &dyn Store, name: &str) -> Result<Key, Error> {
    let entry = Entry {
        table: Table::Secrets,
        id: name.into(),
        body: body(random_key()),
    };
    // Whoever comes second finds the key of the first.
    store.add_entry(&entry).await?;
    let found = store.find_entries(Table::Secrets, &[name.into()]).await?;
    let key = found.first().and_then(|entry| read(&entry.body));
    key.ok_or_else(|| Error::Refused {
        address: store.address().to_owned(),
        message: format!(
            "entry \"{name}\" of {} is no key of a host's; remove it, and one is made at the \
             next start",
            Table::Secrets
        ),
    })
}

fn body(key: Key) -> RawDocumentBuf {
    let key = Binary {
        subtype: BinarySubtype::Generic,
        bytes: key.to_vec(),
    };
    rawdoc! { "key": key }
}

fn read(body: &RawDocumentBuf) -> Option<Key> {
    body.get_binary("key").ok()?.bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::EmbeddedStore;

    #[tokio::test]
    async fn hosts_share_a_key_and_find_it_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("views.db");
        let stores = [(); 2].map(|()| EmbeddedStore::open(&path).expect("a file"));
        stores[0].prepare(&[]).await.expect("tables");
        let (one, other) = tokio::join!(
            shared_key(&stores[0], "cursors"),
            shared_key(&stores[1], "cursors")
        );
        let key = one.expect("a key");
        assert_eq!(other.expect("a key"), key);
        assert_ne!(shared_key(&stores[0], "others").await.expect("a key"), key);
        drop(stores);
        let store = EmbeddedStore::open(&path).expect("the same file");
        assert_eq!(shared_key(&store, "cursors").await.expect("a key"), key);
    }
}
