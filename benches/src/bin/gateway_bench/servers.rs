//! The two servers. Each prints its address, and serves until it is killed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use bson::doc;
use bson::raw::RawDocumentBuf;
use mongodb::Collection;
use mongodb::options::ClientOptions;
use projectionist::gateway::copies::{Copies, Copy, Opened};
use projectionist::gateway::positions::Positions;
use projectionist::gateway::{Gateway, Limits, Setup, View};
use projectionist::projection::Ownership;
use projectionist::store::mongo::MongoStore;
use projectionist::store::{CheckpointId, Readable};
use projectionist::telemetry::health::Health;
use projectionist::telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::data;

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Where a server has its documents.
pub(crate) fn path(name: &str) -> &'static str {
    match name {
        "gateway" => "/views/aircraft",
        _ => "/aircraft",
    }
}

pub(crate) async fn serve(name: &str, database: &str) -> anyhow::Result<()> {
    match name {
        "minimal" => minimal(database).await,
        "gateway" => gateway(database).await,
        _ => anyhow::bail!("there is no server {name}"),
    }
}

async fn minimal(database: &str) -> anyhow::Result<()> {
    let mut options = ClientOptions::parse(data::uri()?).await?;
    // As many as the gateway has: the driver's ten would be the limit.
    options.max_pool_size = Some(64);
    let client = mongodb::Client::with_options(options)?;
    let documents = client.database(database);
    let documents = documents.collection::<RawDocumentBuf>(&data::view().collection());
    let router = Router::new()
        .route("/aircraft/{id}", routing::get(find))
        .with_state(documents);
    let listener = TcpListener::bind(LOOPBACK).await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, router).await.context("it ended")
}

async fn find(
    State(documents): State<Collection<RawDocumentBuf>>,
    Path(id): Path<String>,
) -> Response {
    let found = documents.find_one(doc! { "_id": id }).await;
    match found.map(|found| found.map(|found| serde_json::to_vec(&found))) {
        Ok(Some(Ok(json))) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Ok(Some(Err(_))) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// With the limits that it has by default, metrics included.
async fn gateway(database: &str) -> anyhow::Result<()> {
    let metrics = Metrics::global()?;
    let store = MongoStore::connect(&data::uri()?, database).await?;
    let store: Arc<dyn Readable> = Arc::new(store);
    let read_timeout = Duration::from_secs(2);
    let writer = CheckpointId::writer(data::PROJECTION, 1, "main");
    let positions = Positions::new(Arc::clone(&store) as _, writer, read_timeout);
    let positions = Arc::new(positions);
    let copy = Copy::new("main", &data::PROJECTION.into(), read_timeout);
    copy.open(Opened {
        store: Arc::clone(&store) as _,
        reader: store as _,
        positions: Arc::clone(&positions),
    });
    let view = View {
        id: data::view(),
        projection: data::PROJECTION.into(),
        topics: vec![data::TOPIC.into()],
        ownership: Ownership::ByKey,
        indexes: Vec::new(),
        copies: Copies::one(Arc::new(copy)),
    };
    let limits = Limits {
        connections_max: 10_000,
        connections_per_address_max: 10_000,
        streams_max: 1_000,
        streams_per_client_max: 1_000,
        stream_lifetime: Duration::from_hours(1),
        stream_keep_alive: Duration::from_secs(15),
        request_timeout: Duration::from_secs(5),
        wait_max: Duration::from_secs(30),
        idle_timeout: Duration::from_mins(1),
        write_timeout: Duration::from_secs(30),
        access_log: false,
    };
    let gateway = Gateway::bind(LOOPBACK, limits).await?;
    println!("{}", gateway.address());
    let stop = CancellationToken::new();
    let served = gateway.serve(vec![view], Setup::default(), stop);
    let followed = positions.follow((Health::default(), data::PROJECTION.into()));
    let upkeep = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            metrics.run_upkeep();
        }
    };
    tokio::join!(served, followed, upkeep);
    Ok(())
}
