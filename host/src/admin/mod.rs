//! The host's own HTTP server: metrics, health, projections, plugins, what is parked, and who has
//! changed what.
//!
//! - `GET /metrics`: Prometheus' text format.
//! - `GET /health/live`: 200 while the process serves requests at all.
//! - `GET /health/ready`: 200 when every projection has its partitions claimed and what it
//!   depends on answers; else 503. The body says why not, and where each partition stands.
//! - `/plugins`: see [`plugins`].
//! - `/projections`: see [`projections`] and [`deployments`].
//! - `/parked`: see [`parked`].
//! - `/changes`: see [`changes`].
//! - `GET /openapi.json`: all of these, for programs; made with the routes ([`api`]).
//!
//! All but the first three and the last are guarded by [`access`]; what they refuse is told as
//! RFC 9457 has it.

use std::net::SocketAddr;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::http::problem::{self, Problem};

use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

mod access;
mod api;
mod changes;
mod deployments;
mod parked;
mod plugins;

mod projections;
mod query;

use api::{About, Answer, Api, Body, Method};

pub use access::{Access, Role, Token};
pub use changes::ChangeDesk;
pub use deployments::DeploymentDesk;
pub use parked::ParkedDesk;
pub use plugins::PluginDesk;
pub use projections::ProjectionDesk;

/// A server whose port is bound.
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    state: AdminState,
}

/// What the server shows and changes, each from when it is opened on.
#[derive(Clone)]
pub struct Desks {
    pub projections: ProjectionDesk,
    pub parked: ParkedDesk,
    pub plugins: PluginDesk,
    pub deployments: DeploymentDesk,
    pub changes: ChangeDesk,
}

impl Desks {
    pub fn new(projections: ProjectionDesk) -> Self {
        Desks {
            projections,
            parked: ParkedDesk::default(),
            plugins: PluginDesk::default(),
            deployments: DeploymentDesk::default(),
            changes: ChangeDesk::default(),
        }
    }
}

#[derive(Clone)]
struct AdminState {
    health: Health,
    metrics: Metrics,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (host.listen): choose an address and a port that are free")]
pub struct Error {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

impl Admin {
    pub async fn bind(
        address: SocketAddr,
        health: Health,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let failed = |source| Error { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Admin {
            listener,
            address,
            state: AdminState { health, metrics },
        })
    }

    /// The bound address; where port 0 was asked for, the one that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, desks: Desks, access: Access) -> std::io::Result<()> {
        let AdminState { health, metrics } = self.state;
        let api = Api::new(access)
            .open(
                Method::Get,
                "/metrics",
                async move || page(&metrics),
                METRICS,
            )
            .open(Method::Get, "/health/live", async || "live\n", LIVE)
            .open(
                Method::Get,
                "/health/ready",
                async move || ready(&health),
                READY,
            );
        let api = projections::routes(api);
        let api = plugins::routes(api);
        let api = parked::routes(api);
        let api = deployments::routes(api);
        let router = changes::routes(api).router(desks);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(self.listener, service).await
    }
}

const METRICS: About = About {
    summary: "Metrics in the text format of Prometheus",
    query: &[],
    body: Body::None,
    answers: &[(StatusCode::OK, Answer::Text)],
    refusals: &[],
};

const LIVE: About = About {
    summary: "Answers while the process serves requests at all",
    ..METRICS
};

const READY: About = About {
    summary: "Whether each projection has its partitions, and what is in the way",
    answers: &[
        (StatusCode::OK, Answer::Json("Readiness")),
        (StatusCode::SERVICE_UNAVAILABLE, Answer::Json("Readiness")),
    ],
    ..METRICS
};

fn page(metrics: &Metrics) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, metrics.render()).into_response()
}

fn ready(health: &Health) -> Response {
    let readiness = health.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::to_string_pretty(&readiness).expect("plain data serializes");
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (status, content_type, body + "\n").into_response()
}

/// Reads the body of a request.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the request's body is not as it should be: {error}");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}
