//! A projection's consumer and runner, for one copy of its store.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::policies::hand_over;
use super::versions::{configure, load};
use super::{Error, Plugin, VIEW_VERSION, connection, label, options};
use crate::balance::placement::{Lanes, Placer};
use crate::balance::slots::Load;
use crate::config::{self, Config};
use crate::kafka::consumer;
use crate::kafka::metadata::Metadata;
use crate::kafka::producer::Producer;
use crate::pipeline::budget::Budget;
use crate::pipeline::committer::Options as CommitterOptions;
use crate::pipeline::lanes::Placement;
use crate::pipeline::outbox::Sender;
use crate::pipeline::runner::{Runner, Setup};
use crate::pipeline::version::Versions;
use crate::pipeline::{CommitStream, Context, DomainLayout, LoadProjector, target_views};
use crate::plugin;
use crate::projection::HostError;
use crate::registry::Registry;
use crate::store::Store;
use crate::telemetry::health::{Health, Reachability};

/// What the runners of a projection in a copy have from the host, one after the other.
#[derive(Clone)]
pub(super) struct Parts {
    /// The copy's name in the configuration.
    pub(super) copy: String,
    pub(super) store: Arc<dyn Store>,
    pub(super) reachability: Reachability,
    pub(super) versions: Arc<dyn Versions>,
    /// The projection's, in the first copy.
    pub(super) registry: Registry,
    /// Who places keys, and each one that follows; `None` for the built-in way.
    pub(super) placement: Option<watch::Receiver<plugin::Placement>>,
    pub(super) metadata: Metadata,
    /// `None` for further copies: the first one sends for all.
    pub(super) producer: Option<Arc<Producer>>,
    pub(super) health: Health,
    /// Who hears of commits.
    pub(super) commits: Option<Arc<dyn CommitStream>>,
}

/// Builds a projection's consumer and runner. `partitions` is how many its topics have together.
pub(super) fn build(
    config: &Config,
    plugin: &Plugin,
    parts: Parts,
    partitions: usize,
) -> Result<Runner, Error> {
    let Parts {
        copy,
        store,
        reachability,
        versions,
        registry,
        placement,
        metadata,
        producer,
        health,
        commits,
    } = parts;
    let Plugin {
        name,
        projection,
        program,
        placement: _,
        bytes: _,
    } = plugin;
    let is_first = copy == projection.store;
    let descriptor = Arc::clone(program.descriptor());
    let sender = producer.filter(|_| projection.sends());
    let sender = sender.map(|producer| producer as Arc<dyn Sender>);
    let topics = projection.topics.len();
    let batch = options::batch(&projection.batch);
    let mut parking = options::parking(&projection.parking);
    parking.dead_letter_topic.take_if(|_| !is_first);
    let label = label(name, &projection.store, &copy);
    let context = Context {
        projection: Arc::clone(name),
        name: Arc::clone(&label),
        version: VIEW_VERSION,
        copy: copy.as_str().into(),
        is_mute: !is_first,
        views: target_views(&descriptor, topics, VIEW_VERSION),
        layout: DomainLayout::of(&descriptor, topics),
        placement: place(&label, projection, placement),
        batch,
        queue: options::queue(&projection.queue),
        queued: Budget::new(options::bytes(projection.queue.all_bytes_max)),
        cached: Budget::new(options::bytes(projection.cache_bytes_max)),
        dedupe: projection.dedupe.as_ref().map(options::dedupe),
        without_key: options::without_key(projection.without_key),
        parking,
        health: health.clone(),
        commits,
    };
    let source = consumer::start(consumer::Options {
        connection: connection(config),
        group_id: projection.group_in(&copy),
        membership: membership(config),
        topics: projection.topics.clone(),
        partitions,
    })?;
    let version = Arc::clone(&versions.watch().borrow());
    info!(
        projection = %label, group = projection.group_in(&copy), plugin = %version.hash,
        revision = version.number, layout = ?context.layout, "consuming"
    );
    Ok(Runner::new(Setup {
        committer: CommitterOptions {
            documents_max: batch.documents_max,
            bytes_max: batch.bytes_max,
            ..CommitterOptions::default()
        },
        store_reachability: reachability,
        kafka_reachability: health.reachability("Kafka"),
        sender,
        producer_reachability: health.reachability("Kafka (messages)"),
        load_projector: load_projector(name, projection, program),
        registry,
        versions,
        context,
        store,
        source: source.handle,
        notices: source.notices,
        positions: Arc::new(metadata),
        owner: config.host.name.as_str().into(),
        drain_timeout: config.host.drain_timeout,
    }))
}

/// Waits until all have ended, and tells the first failure. A failed projection is logged and shows
/// in `/health/ready`; the others go on.
pub(super) async fn join(mut running: JoinSet<Result<(), Error>>) -> Result<(), Error> {
    let mut result = Ok(());
    while let Some(ended) = running.join_next().await {
        let ended = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        result = result.and(ended);
    }
    result
}

/// Who places keys. A policy's placer runs for as long as somebody reads its table.
fn place(
    name: &Arc<str>,
    projection: &config::Projection,
    policies: Option<watch::Receiver<plugin::Placement>>,
) -> Placement {
    let lanes = options::count(projection.lanes);
    let (Some(mut policies), Some(config)) = (policies, &projection.placement) else {
        return Placement::hash(lanes);
    };
    let lanes = Lanes {
        projection: Arc::clone(name),
        count: lanes,
        move_budget: config.move_budget,
    };
    let load = Arc::new(Load::default());
    let policy = Arc::new(policies.borrow_and_update().clone());
    let (placer, table) = Placer::new(lanes, policy, Arc::clone(&load), Instant::now());
    let switch = placer.switch();
    tokio::spawn(async move {
        let follow = async {
            // The placer was made with the first one.
            if policies.changed().await.is_ok() {
                let change = move |policy| switch.change_policy(Arc::new(policy), Instant::now());
                hand_over(policies, change).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            () = placer.run(CancellationToken::new()) => {}
            () = follow => {}
        }
    });
    Placement::new(table, load)
}

/// Makes instances of other plugins than the projection's own, with its configuration.
fn load_projector(
    name: &Arc<str>,
    projection: &config::Projection,
    program: &Arc<plugin::Program>,
) -> LoadProjector {
    let (name, engine) = (Arc::clone(name), Arc::clone(program.engine()));
    let projection = projection.clone();
    Arc::new(move |bytes| {
        let failed = |error: plugin::Error| HostError::Engine(Box::new(error));
        let program = load(&engine, &name, bytes, (&name, &projection)).map_err(failed)?;
        let projector = configure(&name, &projection, &program);
        Ok(Box::new(projector.map_err(failed)?))
    })
}

/// How this host takes part in its groups. Within a group, its name tells it from all others.
fn membership(config: &Config) -> consumer::Membership {
    match config.kafka.group_protocol {
        config::GroupProtocol::Classic => consumer::Membership::Classic {
            instance: (config.kafka.static_membership).then(|| config.host.name.clone()),
        },
        config::GroupProtocol::Consumer => consumer::Membership::Consumer,
    }
}
