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
//! The port has a bounded number of connections, of which no address has all; the first three are
//! answered to those who have none, too.
//!
//! All but the first three and the last are guarded by [`access`]; what they refuse is told as
//! RFC 9457 has it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::http::problem::{self, Problem};
use crate::http::server::{self, ADMIN_CONNECTIONS_MAX, Port, Server, Terms};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::{Metrics, PLUGIN_COUNTS};

mod access;
mod api;
mod changes;
mod deployments;
mod parked;
mod plugins;

mod projections;
mod query;

use api::{About, Answer, Api, Body, Method};

use access::Viewer;
pub use access::{Access, Role, Scope, Token};
pub use changes::ChangeDesk;
pub use deployments::DeploymentDesk;
pub use parked::ParkedDesk;
pub use plugins::PluginDesk;
pub use projections::ProjectionDesk;

/// A server whose port is bound.
pub struct Admin {
    server: Server,
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
#[error(transparent)]
pub struct Error(#[from] server::Error);

/// Paths that are answered however many connections there are.
const ALWAYS: &[&str] = &["/health/live", "/health/ready", "/metrics"];

/// Those of one address; the others' places are for others.
const CONNECTIONS_PER_ADDRESS_MAX: usize = ADMIN_CONNECTIONS_MAX / 4 * 3;

const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

impl Admin {
    pub async fn bind(
        address: SocketAddr,
        health: Health,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let terms = Terms {
            port: Port::Admin,
            connections_max: ADMIN_CONNECTIONS_MAX,
            per_network_max: CONNECTIONS_PER_ADDRESS_MAX,
            idle_timeout: IDLE_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            always: ALWAYS,
        };
        Ok(Admin {
            server: Server::bind(address, terms).await?,
            state: AdminState { health, metrics },
        })
    }

    /// The bound address; where port 0 was asked for, the one that was found.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, desks: Desks, access: Access) {
        let AdminState { health, metrics } = self.state;
        let api = Api::new(access)
            .open(
                Method::Get,
                "/metrics",
                async move |Extension(viewer)| page(&metrics, viewer),
                METRICS,
            )
            .open(Method::Get, "/health/live", async || "live\n", LIVE)
            .open(
                Method::Get,
                "/health/ready",
                async move |Extension(viewer)| ready(&health, viewer),
                READY,
            );
        let api = projections::routes(api);
        let api = plugins::routes(api);
        let api = parked::routes(api);
        let api = deployments::routes(api);
        let router = changes::routes(api).router(desks);
        self.server.serve(router, CancellationToken::new()).await;
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

/// What plugins count has names that they choose, which may come from events.
fn page(metrics: &Metrics, viewer: Viewer) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let mut text = metrics.render();
    if viewer == Viewer::Anyone {
        text = without(&text, PLUGIN_COUNTS);
    }
    (content_type, text).into_response()
}

/// A page of metrics without one of them.
fn without(page: &str, metric: &str) -> String {
    let is_of_another = |line: &&str| {
        let name = line.trim_start_matches("# HELP ");
        let name = name.trim_start_matches("# TYPE ");
        let rest = name.strip_prefix(metric);
        !rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    page.split_inclusive('\n').filter(is_of_another).collect()
}

fn ready(health: &Health, viewer: Viewer) -> Response {
    let mut readiness = health.readiness();
    if viewer == Viewer::Anyone {
        readiness = readiness.without_details();
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_left_out_with_its_head() {
        let page = "# HELP count_total told\n# TYPE count_total counter\n\
                    count_total{metric=\"ann@example.org\"} 1\n\
                    # TYPE count_total_other counter\ncount_total_other 2\n";
        let expected = "# TYPE count_total_other counter\ncount_total_other 2\n";
        assert_eq!(without(page, "count_total"), expected);
    }
}
