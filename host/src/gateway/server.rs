//! The gateway's port: takes connections, as many as it may have, and no more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use metrics::{counter, gauge};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::rate::Rates;
use super::{Limits, Setup, Shared, View, connection, router};
use crate::http::problem::Problem;
use crate::telemetry::recurring;

/// A gateway whose port is bound.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (gateway.listen): choose an address and a port that are free")]
pub struct Error {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// Files that the rest of the host may need: stores, Kafka, plugins.
const OTHER_FILES: usize = 512;

/// How long to wait where the system has no file left for a connection.
const NO_FILE_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are given a moment to hear that there are too many.
const REFUSALS_MAX: usize = 256;

impl Gateway {
    /// Binds the port. Raises the process' limit on open files as far as the connections need it
    /// and the system lets it; where that is too little, there are fewer connections.
    pub async fn bind(address: SocketAddr, mut limits: Limits) -> Result<Self, Error> {
        let failed = |source| Error { address, source };
        let wanted = limits.connections_max.saturating_add(OTHER_FILES);
        let files = rlimit::increase_nofile_limit(wanted as u64).map_err(failed)?;
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let connections_max = files.saturating_sub(OTHER_FILES).max(1);
        if connections_max < limits.connections_max {
            warn!(
                "the gateway takes {connections_max} connections instead of {}, for this process \
                 may have {files} open files; raise that limit (LimitNOFILE, ulimit -n)",
                limits.connections_max
            );
            limits.connections_max = connections_max;
        }
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Gateway {
            listener,
            address,
            limits,
        })
    }

    /// The bound address; where port 0 was asked for, the one that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the views until `stop` is cancelled and the requests under way are answered, or
    /// until the future is dropped.
    pub async fn serve(self, views: Vec<View>, setup: Setup, stop: CancellationToken) {
        let Gateway {
            listener,
            address,
            limits,
        } = self;
        info!(%address, "views are served");
        let views = views
            .into_iter()
            .map(|view| (Arc::clone(&view.id.name), view));
        let shared = Shared {
            views: BTreeMap::from_iter(views),
            limits: limits.clone(),
            rates: setup.rate_limit.map(Rates::new),
            setup,
            streams: Arc::new(Semaphore::new(limits.streams_max)),
            stop: stop.clone(),
        };
        let router = router(Arc::new(shared));
        let permits = Arc::new(Semaphore::new(limits.connections_max));
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                // A connection is taken in one step, or not at all.
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if recurring::admit("connections", "", &error.to_string()) {
                        warn!(%error, "a connection could not be taken");
                    }
                    tokio::time::sleep(NO_FILE_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                counter!("projectionist_gateway_connections_refused_total").increment(1);
                match Arc::clone(&refusals).try_acquire_owned() {
                    Ok(permit) => {
                        connections.spawn(async move {
                            turn_away(stream).await;
                            drop(permit);
                        });
                    }
                    // Without waiting; whoever does not take it has gone.
                    Err(_) => drop(stream.try_write(&too_many())),
                }
                continue;
            };
            let serve =
                connection::serve(stream, peer, router.clone(), limits.clone(), stop.clone());
            connections.spawn(async move {
                gauge!("projectionist_gateway_connections").increment(1.0);
                serve.await;
                gauge!("projectionist_gateway_connections").decrement(1.0);
                drop(permit);
            });
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}

/// Says why, and gives the reader a moment to take it.
async fn turn_away(mut stream: TcpStream) {
    // Whoever does not take it has gone.
    if stream.write_all(&too_many()).await.is_ok() {
        connection::linger(&mut stream).await;
    }
}

fn too_many() -> Vec<u8> {
    let detail = "this host has as many connections as it may have (gateway.connections); close \
                  some, or ask another host";
    connection::bare(&Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
}
