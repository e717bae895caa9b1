//! What happens to every request before and after its route: who sends it, how many they may send,
//! which pages may see the answer; metrics, and a line of the access log.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{counter, gauge, histogram};
use tracing::info;

use super::access::Caller;
use super::rate::Left;
use super::{Shared, cors, tickets};
use crate::http::client::Client;
use crate::http::credentials::unauthorized;
use crate::http::peer::Peer;
use crate::http::problem::Problem;

/// Counts itself as long as it lives: a request whose reader has gone ends without an answer.
struct InFlight;

impl InFlight {
    fn new() -> Self {
        gauge!("projectionist_gateway_requests_in_flight").increment(1.0);
        InFlight
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("projectionist_gateway_requests_in_flight").decrement(1.0);
    }
}

/// What the access log shows of a request.
struct Line {
    peer: Arc<str>,
    method: Method,
    uri: Uri,
}

pub(super) async fn enter(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let origin = shared.setup.origins.allowed(request.headers());
    if cors::is_preflight(request.method(), request.headers()) {
        return cors::preflight(origin.as_ref());
    }
    let in_flight = InFlight::new();
    let route = route_of(request.uri().path());
    let peer = request.extensions().get::<Peer>();
    let peer = peer
        .cloned()
        .expect("each connection tells of its other end");
    // In a list it is a filter by a field of that name.
    let ticket = match route {
        "events" | "document" => tickets::take(request.uri_mut()),
        _ => None,
    };
    let opens_stream = route == "events" && request.method() == Method::GET;
    let ticket = ticket.filter(|_| opens_stream);
    let line = shared.limits.access_log.then(|| Line {
        peer: Arc::clone(&peer.text),
        method: request.method().clone(),
        uri: request.uri().clone(),
    });
    let by = By {
        peer: &peer,
        ticket: ticket.as_deref(),
        origin: origin.as_ref(),
    };
    let admitted = admit(&shared, &request, &by);
    let (response, name, left) = match admitted {
        Ok((caller, left)) => {
            let name = Arc::clone(&caller.name);
            request.extensions_mut().insert(caller);
            (next.run(request).await, Some(name), left)
        }
        Err((problem, left)) => (problem.into_response(), None, left),
    };
    drop(in_flight);
    let response = told(response, origin, left);
    record(route, &response, began);
    if let Some(Line { peer, method, uri }) = line {
        let status = response.status().as_u16();
        let ms = began.elapsed().as_secs_f64() * 1e3;
        // A JWT's subject may be any text.
        let caller = name.as_deref().unwrap_or("").escape_debug();
        info!(target: "projectionist::access", %peer, %caller, %method, %uri, status, ms, "request");
    }
    response
}

/// By what a request is known.
struct By<'r> {
    peer: &'r Peer,
    /// In the place of a token.
    ticket: Option<&'r str>,
    /// Of an allowed site.
    origin: Option<&'r HeaderValue>,
}

/// Finds out who sends a request, and takes it out of their bucket. Whoever is not admitted is
/// counted by their address.
fn admit(
    shared: &Shared,
    request: &Request,
    by: &By<'_>,
) -> Result<(Caller, Option<Left>), (Problem, Option<Left>)> {
    let admitted = find(shared, request, by);
    let client = match &admitted {
        Ok(caller) => caller.client.clone(),
        Err(_) => Client::Network(by.peer.network()),
    };
    let rates = shared.rates.as_ref();
    let left = rates.map(|rates| rates.take(&client, Instant::now()));
    let checked = left.as_ref().map_or(Ok(()), Left::check);
    match checked.and(admitted) {
        Ok(caller) => Ok((caller, left)),
        Err(problem) => Err((problem, left)),
    }
}

fn find(shared: &Shared, request: &Request, by: &By<'_>) -> Result<Caller, Problem> {
    let access = &shared.setup.access;
    let Some(ticket) = by.ticket else {
        return access.admit(request.headers(), by.peer, by.origin.is_some());
    };
    let (caller, view) = shared.tickets.find(ticket, tokio::time::Instant::now())?;
    match access.still_admits(&caller, &view) {
        true => Ok(caller),
        false => Err(unauthorized(
            "the token that this ticket was given for is not taken any more",
        )),
    }
}

fn told(mut response: Response, origin: Option<HeaderValue>, left: Option<Left>) -> Response {
    let headers = response.headers_mut();
    if let Some(left) = left {
        left.tell(headers);
    }
    if let Some(origin) = origin {
        cors::tell(headers, origin);
    }
    response
}

/// A name for the metrics, of which there are few.
fn route_of(path: &str) -> &'static str {
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("views"), Some(_), None, None) => "list",
        (Some("views"), Some(_), Some(_), None) => "document",
        (Some("views"), Some(_), Some(_), Some("events")) => "events",
        _ => "other",
    }
}

fn record(route: &'static str, response: &Response, began: Instant) {
    let outcome = match response.status().as_u16() {
        0..400 => "answered",
        400..500 => "refused",
        _ => "failed",
    };
    counter!("projectionist_gateway_requests_total", "route" => route, "outcome" => outcome)
        .increment(1);
    histogram!("projectionist_gateway_request_seconds", "route" => route)
        .record(began.elapsed().as_secs_f64());
}
