//! Waiting for what the host depends on, for a while.
//!
//! At the start a wrong address is likelier than an outage, so the host gives up with a message
//! instead of waiting for ever as it does later.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;
use tracing::{info, warn};

use super::stores::{first, open_readable};
use super::versions::Follower;
use super::{Catalogue, Error, Plugin, policies, reading};
use crate::config::{self, Config};
use crate::gateway::CursorKey;
use crate::kafka::metadata::Metadata;
use crate::pipeline::backoff::Backoff;
use crate::secrets;
use crate::store::{self, Readable, Store, ViewId};
use crate::telemetry::health::describe;

/// Opens the first copies of all stores and makes their views ready.
pub(super) async fn open_stores(
    config: &Config,
    catalogue: &Catalogue,
    deadline: Instant,
) -> Result<BTreeMap<String, Arc<dyn Readable>>, Error> {
    let mut stores = BTreeMap::new();
    for (name, store) in &config.stores {
        let owned = catalogue.views_in(name, name);
        let opened = retry(deadline, async || {
            let opened = open_copy(config, store.first(), &owned).await;
            opened.map_err(|source| Error::Store {
                store: name.clone(),
                source,
            })
        });
        let opened = opened.await?;
        if let Some(advice) = opened.advice().await {
            info!(store = name, "{} {advice}", Store::address(&*opened));
        }
        stores.insert(name.clone(), opened);
    }
    Ok(stores)
}

/// Opens a copy of a store, and makes these views of it ready, each with its writer.
pub(super) async fn open_copy(
    config: &Config,
    copy: &config::Copy,
    owned: &[(ViewId, String)],
) -> Result<Arc<dyn Readable>, store::Error> {
    let opened = open_readable(copy).await?;
    let views: Vec<ViewId> = owned.iter().map(|(view, _)| view.clone()).collect();
    opened.prepare(&views).await?;
    let mut by_writer: BTreeMap<&str, Vec<ViewId>> = BTreeMap::new();
    for (view, writer) in owned {
        by_writer.entry(writer).or_default().push(view.clone());
    }
    for (writer, views) in by_writer {
        opened.own(&views, writer).await?;
    }
    for view in &views {
        let indexes = reading::indexes(config, &view.name);
        opened.prepare_indexes(view, &indexes).await?;
    }
    Ok(opened)
}

/// Finds the key that all hosts of this configuration sign cursors with.
pub(super) async fn cursor_key(
    stores: &BTreeMap<String, Arc<dyn Store>>,
    deadline: Instant,
) -> Result<CursorKey, Error> {
    let key = retry(deadline, async || {
        let key = secrets::shared_key(&*first(stores), "gateway/cursors").await;
        key.map_err(|source| Error::Store {
            store: stores.keys().next().cloned().unwrap_or_default(),
            source,
        })
    });
    Ok(CursorKey::new(&key.await?))
}

/// Finds out which plugin a projection is to run.
pub(super) async fn follow(
    config: &Config,
    plugin: &Plugin,
    store: &Arc<dyn Store>,
    deadline: Instant,
) -> Result<Arc<Follower>, Error> {
    let host = &config.host.name;
    let follower = retry(deadline, async || {
        let started = Follower::start(plugin, Arc::clone(store), host).await;
        started.map_err(|source| Error::Versions {
            projection: Arc::clone(&plugin.name),
            source,
        })
    });
    Ok(Arc::new(follower.await?))
}

/// Finds out which policy a balancer is to ask.
pub(super) async fn follow_policy<P: Clone + Send + Sync + 'static>(
    config: &Config,
    subject: &str,
    configured: &policies::Configured<P>,
    stores: &BTreeMap<String, Arc<dyn Store>>,
    deadline: Instant,
) -> Result<Arc<policies::Follower<P>>, Error> {
    let (subject, host) = (Arc::<str>::from(subject), &config.host.name);
    retry(deadline, async || {
        let store = first(stores);
        let started = policies::Follower::start(Arc::clone(&subject), configured, store, host);
        started.await.map_err(|source| Error::Versions {
            projection: Arc::clone(&subject),
            source,
        })
    })
    .await
}

/// Looks for the topics of all projections at once, and counts the partitions that each one reads.
/// What is wrong with the topics of one is that one's matter; an error is what stops the start: that
/// Kafka does not answer, or that there is nothing to run by the deadline.
pub(super) async fn find_all_topics(
    catalogue: &Catalogue,
    metadata: &Metadata,
    deadline: Instant,
) -> Result<Vec<Result<usize, Error>>, Error> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    loop {
        let mut found = look_for_topics(catalogue, metadata, deadline).await?;
        if found.iter().any(Result::is_ok) {
            return Ok(found);
        }
        let next = Instant::now() + backoff.next_delay();
        let first = found.swap_remove(0);
        if next >= deadline {
            return first.map(|_| Vec::new());
        }
        if let Err(error) = &first {
            warn!("waiting: {}", describe(error));
        }
        tokio::time::sleep_until(next).await;
    }
}

async fn look_for_topics(
    catalogue: &Catalogue,
    metadata: &Metadata,
    deadline: Instant,
) -> Result<Vec<Result<usize, Error>>, Error> {
    let found = catalogue.plugins.iter().map(async |plugin| {
        match find_topics(&plugin.projection, metadata, deadline).await {
            Err(error) if error.is_unavailable() => Err(error),
            found => Ok(found),
        }
    });
    try_join_all(found).await
}

/// Makes sure that every topic exists that a projection reads or sends to. Returns how many
/// partitions those have that it reads.
async fn find_topics(
    projection: &config::Projection,
    metadata: &Metadata,
    deadline: Instant,
) -> Result<usize, Error> {
    let find = async |topic: &String| {
        retry(deadline, async || Ok(metadata.partitions(topic).await?)).await
    };
    let mut partitions = 0;
    for topic in &projection.topics {
        partitions += find(topic).await?;
    }
    for topic in projection.topics_sent_to() {
        find(topic).await?;
    }
    Ok(partitions)
}

/// The same, asking once. Kafka may not answer.
pub(super) async fn count_partitions(
    projection: &config::Projection,
    metadata: &Metadata,
) -> Result<usize, Error> {
    let mut partitions = 0;
    for topic in &projection.topics {
        partitions += metadata.partitions(topic).await?;
    }
    for topic in projection.topics_sent_to() {
        metadata.partitions(topic).await?;
    }
    Ok(partitions)
}

async fn retry<T, F>(deadline: Instant, mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let next = Instant::now() + backoff.next_delay();
        if !error.is_unavailable() || next >= deadline {
            return Err(error);
        }
        warn!("waiting: {}", describe(&error));
        tokio::time::sleep_until(next).await;
    }
}
