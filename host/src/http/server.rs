//! A port of the host: takes connections, as many as it may have, and no more.
//!
//! Guarantees:
//! - However many clients hold connections, silent or not, what [`Terms::always`] names is answered.
//! - One client does not take all places ([`places`](super::places)).
//! - Open connections are bounded, and so are the files that they take.
//!
//! On failure: without a file for a connection it waits for a moment, and goes on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use metrics::{counter, gauge};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::connection::{Served, Standing, serve};
use super::peer::Peer;
use super::places::{Full, Lobby, Place, Places};
use super::problem::Problem;
use crate::telemetry::recurring;

/// What clients of a port may take.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) port: Port,
    /// Open connections.
    pub(crate) connections_max: usize,
    /// Those of one network.
    pub(crate) per_network_max: usize,
    /// Until the whole head of a request is there, the first or the next one of its connection.
    pub(crate) idle_timeout: Duration,
    /// Without a byte of an answer being taken.
    pub(crate) write_timeout: Duration,
    /// Paths that are served to those who have no place, too.
    pub(crate) always: &'static [&'static str],
}

/// What a port is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Admin,
    Gateway,
}

/// A server whose port is bound.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    terms: Terms,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({key}): choose an address and a port that are free")]
pub struct Error {
    address: SocketAddr,
    key: &'static str,
    #[source]
    source: std::io::Error,
}

/// Connections that wait to be taken, as far as the system lets them. Where there is no room for
/// one, its client tries again after a second: a crowd would hold up everybody else so.
const BACKLOG: u32 = 4_096;

/// How long to wait where the system has no file left for a connection.
const NO_FILE_PAUSE: Duration = Duration::from_millis(50);

/// Connections without a place that may ask for what is served always.
const LOBBY_MAX: usize = 64;

/// Of those without a place, so many are given a moment to take what they are told.
const FAREWELLS_MAX: usize = 64;

/// Files that the rest of the host may need: stores, Kafka, plugins.
const OTHER_FILES: usize = 512;

/// Files that are no connection's place: those, and both ports' connections without one.
const KEPT_BACK: usize = OTHER_FILES + 2 * (LOBBY_MAX + FAREWELLS_MAX);

/// Open connections of the admin API.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 1_536;

impl Server {
    /// Binds a port. Raises the process' limit on open files as far as the connections need it and
    /// the system lets it; where that is too little, there are fewer connections.
    pub(crate) async fn bind(address: SocketAddr, mut terms: Terms) -> Result<Self, Error> {
        let failed = |source| Error {
            address,
            key: terms.port.key(),
            source,
        };
        let wanted = terms.port.files(terms.connections_max);
        let files = rlimit::increase_nofile_limit(wanted as u64).map_err(failed)?;
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let connections_max = terms.port.connections(files).min(terms.connections_max);
        if connections_max < terms.connections_max {
            warn!(
                "{} takes {connections_max} connections instead of {}, for this process may have \
                 {files} open files; raise that limit (LimitNOFILE, ulimit -n)",
                terms.port.name(),
                terms.connections_max
            );
            terms.connections_max = connections_max;
        }
        let listener = listen(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Server {
            listener,
            address,
            terms,
        })
    }

    /// The bound address; where port 0 was asked for, the one that was found.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled and the requests under way are answered, or until the
    /// future is dropped.
    pub(crate) async fn serve(self, router: Router, stop: CancellationToken) {
        let Server {
            listener, terms, ..
        } = self;
        let port = terms.port;
        let places = Places::new(terms.connections_max, terms.per_network_max);
        let served = Served {
            router,
            moments: places.moments(),
            farewells: Arc::new(Semaphore::new(FAREWELLS_MAX)),
            stop: stop.clone(),
            terms,
        };
        let places = Arc::new(Mutex::new(places));
        let mut lobby = Lobby::new(LOBBY_MAX);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                // A connection is taken in one step, or not at all.
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok((stream, peer)) => (stream, Peer::new(peer.ip())),
                Err(error) => {
                    if recurring::admit("connections", port.name(), &error.to_string()) {
                        warn!(%error, "{} could not take a connection", port.name());
                    }
                    tokio::time::sleep(NO_FILE_PAUSE).await;
                    continue;
                }
            };
            let taken = locked(&places).take(peer.network());
            match taken {
                Ok(place) => {
                    let seat = Seat::new(place, Arc::clone(&places), port);
                    let served = served.clone();
                    connections.spawn(async move {
                        let standing = Standing::Seated(Arc::clone(&seat.place.activity));
                        serve(stream, peer, served, standing).await;
                        drop(seat);
                    });
                }
                Err(full) => {
                    counter!(port.refused()).increment(1);
                    let standing = Standing::Lobby(full, lobby.enter());
                    connections.spawn(serve(stream, peer, served.clone(), standing));
                }
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}

/// Binds a port, as `TcpListener::bind` does, but with room for many who come at once.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A host that is started again takes its port while connections of the one before run out.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A place, given back when it is dropped.
struct Seat {
    place: Place,
    places: Arc<Mutex<Places>>,
    port: Port,
}

impl Seat {
    fn new(place: Place, places: Arc<Mutex<Places>>, port: Port) -> Self {
        gauge!(port.open()).increment(1.0);
        Seat {
            place,
            places,
            port,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        gauge!(self.port.open()).decrement(1.0);
        locked(&self.places).leave(&self.place);
    }
}

/// Nobody panics in there, and what is counted stays right if somebody did.
fn locked(places: &Mutex<Places>) -> std::sync::MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Terms {
    /// What somebody is told who has no place.
    pub(super) fn too_many(&self, full: Full) -> Problem {
        let key = |what| format!(" ({what})");
        let (whose, key) = match (full, self.port) {
            (Full::All, Port::Gateway) => ("this host", key("gateway.connections")),
            (Full::Share, Port::Gateway) => {
                ("your address", key("gateway.connections-per-address"))
            }
            (Full::All, Port::Admin) => ("this host", String::new()),
            (Full::Share, Port::Admin) => ("your address", String::new()),
        };
        let detail = format!(
            "{whose} has as many connections as it may have{key}; close some, or ask another host"
        );
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        problem.with(header::RETRY_AFTER, "1")
    }
}

impl Port {
    pub(super) fn name(self) -> &'static str {
        match self {
            Port::Admin => "the admin API",
            Port::Gateway => "the gateway",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Port::Admin => "host.listen",
            Port::Gateway => "gateway.listen",
        }
    }

    fn open(self) -> &'static str {
        match self {
            Port::Admin => "projectionist_admin_connections",
            Port::Gateway => "projectionist_gateway_connections",
        }
    }

    fn refused(self) -> &'static str {
        match self {
            Port::Admin => "projectionist_admin_connections_refused_total",
            Port::Gateway => "projectionist_gateway_connections_refused_total",
        }
    }

    /// Open files that the process needs so that this port has so many connections.
    fn files(self, connections: usize) -> usize {
        let of_the_other = match self {
            Port::Admin => connections,
            Port::Gateway => ADMIN_CONNECTIONS_MAX,
        };
        connections.saturating_add(of_the_other + KEPT_BACK)
    }

    /// Connections that this port may have of so many open files. Where they are too few for all,
    /// each port has half of what is left.
    fn connections(self, files: usize) -> usize {
        let left = files.saturating_sub(KEPT_BACK);
        let admin = ADMIN_CONNECTIONS_MAX.min(left / 2);
        match self {
            Port::Admin => admin.max(1),
            Port::Gateway => (left - admin).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_few_files_has_connections_on_both_ports() {
        for files in [0, 256, 1_024, 1_500, 4_096, 20_000] {
            let admin = Port::Admin.connections(files);
            let gateway = Port::Gateway.connections(files);
            assert!(admin >= 1 && gateway >= 1, "{files}");
            assert!(
                admin + gateway + KEPT_BACK <= files.max(KEPT_BACK + 2),
                "{files}"
            );
        }
        assert_eq!(Port::Admin.connections(KEPT_BACK + 1_000), 500);
        let wanted = Port::Gateway.files(10_000);
        assert_eq!(Port::Gateway.connections(wanted), 10_000);
        assert_eq!(Port::Admin.connections(wanted), ADMIN_CONNECTIONS_MAX);
        let wanted = Port::Admin.files(ADMIN_CONNECTIONS_MAX);
        assert_eq!(Port::Admin.connections(wanted), ADMIN_CONNECTIONS_MAX);
    }
}
