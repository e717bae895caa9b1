//! The query gateway: views over HTTP, for those whom the read models are made for.
//!
//! - `GET /views/{view}/{id}`: one document ([`get`]).
//! - `GET /views/{view}`: documents by declared indexes, page by page ([`list`], [`select`]).
//! - `GET /views/{view}/{id}/events`: a document whenever it changes ([`events`]).
//! - `POST /views/{view}/{id}/events`: a ticket for that, for those who cannot send a token
//!   ([`tickets`]).
//! - `GET /openapi.json`: all of these, for programs ([`openapi`]).
//!
//! Every answer says which position of the topics it includes, and a request may ask for a
//! position that it must include ([`fresh`]); [`token`] defines the text of a position.
//!
//! Guarantees:
//! - An answer holds the effects of all events before the position that it names.
//! - Whatever is refused is told as RFC 9457 has it.
//! - No request waits longer than its time-outs, whatever the stores do, and no reader can hold
//!   up a projection: reads have connections and threads of their own.
//!
//! Not here: changing anything (`admin` is the API for that).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::http::problem::{Problem, answer};
use crate::projection::Ownership;
use crate::store::list::Index;
use crate::store::{self, ViewId};
use crate::telemetry::health::describe;
use crate::telemetry::recurring;

pub mod access;
mod ask;
mod breaker;
pub mod cache;
pub mod copies;
pub mod cors;
mod cursor;
mod entry;
mod etag;
mod events;
mod fields;
mod fresh;
mod get;
pub mod jwt;
mod list;
mod openapi;
mod parked;
pub mod positions;
pub mod rate;
mod select;
mod server;
mod staleness;
mod streams;
mod tickets;
pub mod token;

use access::{Access, Caller};
use ask::Ask;
use copies::Copies;
use cors::Origins;
use rate::{RateLimit, Rates};
use streams::Streams;
use tickets::Tickets;

pub use cursor::Key as CursorKey;
pub use server::{Error, Gateway};

/// A view that is served.
pub struct View {
    pub id: ViewId,
    /// The projection that writes it.
    pub projection: Arc<str>,
    /// What the projection reads.
    pub topics: Vec<Arc<str>>,
    pub ownership: Ownership,
    /// By which its documents are found.
    pub indexes: Vec<Index>,
    pub copies: Copies,
}

/// How long and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; those above it are turned away.
    pub connections_max: usize,
    /// Those of one address.
    pub connections_per_address_max: usize,
    /// Streams of events at a time, of all readers.
    pub streams_max: usize,
    /// Those of one client.
    pub streams_per_client_max: usize,
    /// Of a stream; it ends before that with its token.
    pub stream_lifetime: Duration,
    /// After so long without anything else, a comment tells that both ends are still there.
    pub stream_keep_alive: Duration,
    /// For an answer, besides what the request waits for a position.
    pub request_timeout: Duration,
    /// The longest wait for a position that a request may ask for.
    pub wait_max: Duration,
    /// Until the whole head of a request is there, the first or the next one of its connection.
    pub idle_timeout: Duration,
    /// Without a byte of an answer being taken.
    pub write_timeout: Duration,
    /// Whether each request is logged.
    pub access_log: bool,
}

/// Who may ask, and how often.
#[derive(Default)]
pub struct Setup {
    pub access: Access,
    pub origins: Origins,
    /// Of each client; `None` counts nobody's requests.
    pub rate_limit: Option<RateLimit>,
    /// What cursors are signed with: the same on all hosts of a configuration.
    pub cursors: CursorKey,
}

/// What all requests share.
struct Shared {
    views: BTreeMap<Arc<str>, View>,
    limits: Limits,
    setup: Setup,
    rates: Option<Rates>,
    streams: Streams,
    tickets: Tickets,
    stop: CancellationToken,
}

impl Shared {
    /// A view by its name.
    fn view(&self, name: &str) -> Result<&View, Problem> {
        self.views.get(name).ok_or_else(|| {
            let detail = format!("there is no view \"{name}\" here");
            Problem::new(StatusCode::NOT_FOUND, detail)
        })
    }

    /// Waits for an answer, as long as the request may take.
    async fn within(
        &self,
        ask: &Ask,
        answer: impl Future<Output = Result<Response, Problem>>,
    ) -> Result<Response, Problem> {
        let most = self.limits.request_timeout + ask.wait.unwrap_or_default();
        tokio::time::timeout(most, answer).await.unwrap_or_else(|_| {
            let detail = format!(
                "there is no answer within {} (gateway.request-timeout, and \"wait\"); ask again",
                humantime::format_duration(most)
            );
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).with(header::RETRY_AFTER, "1"))
        })
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/views/{view}", routing::get(list::list))
        .route("/views/{view}/{id}", routing::get(get::get))
        .route(
            "/views/{view}/{id}/events",
            routing::get(events::events).post(tickets::issue),
        )
        .route("/openapi.json", routing::get(document))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(Arc::clone(&shared), entry::enter))
        .with_state(shared)
}

async fn document(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let document = openapi::document(shared.views.values(), &caller);
    answer(StatusCode::OK, &document)
}

async fn no_route() -> Problem {
    let detail = "there is nothing at this path; GET /openapi.json lists what there is";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn no_method() -> Problem {
    let detail = "views are read with GET, and changed by events only; POST is for the tickets of \
                  streams alone";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).with(header::ALLOW, "GET, HEAD")
}

/// No copy has answered. What a store says of itself is for its operators, not for readers.
fn outage(error: &store::Error) -> Problem {
    let why = describe(error);
    if recurring::admit("reads", "", &why) {
        warn!("a read failed: {why}");
    }
    match error {
        store::Error::Unavailable { .. } => {
            let detail = "the view cannot be read now: no store that holds it answers; ask again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(header::RETRY_AFTER, "1")
        }
        store::Error::Denied { .. }
        | store::Error::Refused { .. }
        | store::Error::Foreign { .. } => {
            let detail = "the store that holds the view refuses to read it; the log of the host \
                          tells why";
            Problem::new(StatusCode::BAD_GATEWAY, detail)
        }
    }
}
