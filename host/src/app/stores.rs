//! The databases of the configuration: opening them, and looking after them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::catalogue::Problem;
use crate::config;
use crate::store::{self, Readable, Store, User, apart};
use crate::telemetry::health::{Reachability, describe};

/// How often the stores are asked whether they answer.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// How long they may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Where plugins and changes are kept: the same store on every host of one configuration.
pub fn first(stores: &BTreeMap<String, Arc<dyn Store>>) -> Arc<dyn Store> {
    let (_, store) = stores.first_key_value().expect("there is one at least");
    Arc::clone(store)
}

/// Opens a copy of a store, without waiting for it.
pub async fn open_store(copy: &config::Copy) -> Result<Arc<dyn Store>, store::Error> {
    Ok(open_readable(copy).await?)
}

/// The same for those who read views, too.
pub(super) async fn open_readable(copy: &config::Copy) -> Result<Arc<dyn Readable>, store::Error> {
    Ok(match &copy.location {
        config::Location::MongoDb { uri, database } => {
            Arc::new(store::mongo::MongoStore::connect(uri.expose(), database).await?)
        }
        config::Location::Embedded { path } => {
            Arc::new(store::embedded::EmbeddedStore::open(path)?)
        }
    })
}

/// The URIs that the driver does not take, whatever their servers are.
pub(super) fn wrong_uris(config: &config::Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, store) in &config.stores {
        for (index, copy) in store.copies.iter().enumerate() {
            let config::Location::MongoDb { uri, .. } = &copy.location else {
                continue;
            };
            let Err(message) = store::mongo::check_uri(uri.expose()) else {
                continue;
            };
            let further = ["copies", copy.name.as_str()];
            let of_a_copy = further.iter().copied().filter(|_| index > 0);
            let key = ["stores", name.as_str()].into_iter().chain(of_a_copy);
            problems.push(Problem {
                written: config.place_of(key.chain(["uri"])),
                what: store_name(&copy.name),
                path: None,
                message,
            });
        }
    }
    problems
}

/// The stores as the pipeline knows them.
pub(super) fn writable(
    stores: BTreeMap<String, Arc<dyn Readable>>,
) -> BTreeMap<String, Arc<dyn Store>> {
    let stores = stores.into_iter();
    stores
        .map(|(name, store)| (name, store as Arc<dyn Store>))
        .collect()
}

/// The stores as operators have them: the pipeline does not wait behind what they ask for.
pub(super) fn for_operators(
    stores: &BTreeMap<String, Arc<dyn Store>>,
) -> BTreeMap<String, Arc<dyn Store>> {
    let stores = stores.iter();
    stores
        .map(|(name, store)| (name.clone(), apart(store, User::Operators)))
        .collect()
}

/// Notices a store that goes away while there is nothing to store.
pub(super) async fn look_after(store: Arc<dyn Store>, reachability: Reachability) {
    loop {
        tokio::time::sleep(PING_INTERVAL).await;
        match tokio::time::timeout(PING_TIMEOUT, store.ping()).await {
            Ok(Ok(())) => reachability.answered(),
            Ok(Err(error)) => reachability.silent(describe(&error)),
            Err(_) => reachability.silent(format!(
                "{} has not answered for {} s",
                store.address(),
                PING_TIMEOUT.as_secs()
            )),
        }
    }
}

/// What a store is called in messages.
pub(super) fn store_name(name: &str) -> String {
    format!("store \"{name}\"")
}
