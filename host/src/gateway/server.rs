//! The gateway's port, and what is served there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::rate::Rates;
use super::streams::Streams;
use super::tickets::Tickets;
use super::{Limits, Setup, Shared, View, router};
use crate::http::server::{self, Port, Server, Terms};

/// A gateway whose port is bound.
pub struct Gateway {
    server: Server,
    limits: Limits,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] server::Error);

impl Gateway {
    /// Binds the port; see [`Server::bind`].
    pub async fn bind(address: SocketAddr, limits: Limits) -> Result<Self, Error> {
        let terms = Terms {
            port: Port::Gateway,
            connections_max: limits.connections_max,
            per_network_max: limits.connections_per_address_max,
            idle_timeout: limits.idle_timeout,
            write_timeout: limits.write_timeout,
            always: &[],
        };
        let server = Server::bind(address, terms).await?;
        Ok(Gateway { server, limits })
    }

    /// The bound address; where port 0 was asked for, the one that was found.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves the views until `stop` is cancelled and the requests under way are answered, or
    /// until the future is dropped.
    pub async fn serve(self, views: Vec<View>, setup: Setup, stop: CancellationToken) {
        let Gateway { server, limits } = self;
        info!(address = %server.address(), "views are served");
        let views = views
            .into_iter()
            .map(|view| (Arc::clone(&view.id.name), view));
        let shared = Shared {
            views: BTreeMap::from_iter(views),
            rates: setup.rate_limit.map(Rates::new),
            streams: Streams::new(limits.streams_max, limits.streams_per_client_max),
            tickets: Tickets::default(),
            limits,
            setup,
            stop: stop.clone(),
        };
        server.serve(router(Arc::new(shared)), stop).await;
    }
}
