//! `POST /views/{view}/{id}/events`: a ticket for a stream of one view.
//!
//! A browser's `EventSource` sends no `Authorization`. Its page asks for a ticket with its token,
//! and opens the stream with `?ticket=…`. What stands in an address is seen by proxies and kept in
//! histories, so a ticket opens streams of one view only, for a minute, and is worth no more than
//! the token by then. It is not logged, and not kept: only its digest is, in memory of this host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::Instant;

use super::Shared;
use super::access::Caller;
use super::ask::{bad, in_path};
use crate::http::credentials::{Fingerprint, fingerprint, unauthorized};
use crate::http::problem::{Problem, answer};

/// How long a ticket opens streams.
const LIFETIME: Duration = Duration::from_mins(1);

const TICKETS_MAX: usize = 10_000;

/// Of each client.
const OWN_MAX: usize = 100;

/// The tickets that still open something.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<Fingerprint, Ticket>>);

struct Ticket {
    caller: Caller,
    view: Arc<str>,
    until: Instant,
}

impl Tickets {
    /// A new ticket's text.
    fn issue(&self, caller: Caller, view: &str, now: Instant) -> Result<String, Problem> {
        let mut tickets = self.tickets();
        tickets.retain(|_, ticket| ticket.until > now);
        let own = tickets.values();
        let own = own.filter(|ticket| ticket.caller.client == caller.client);
        if own.count() >= OWN_MAX || tickets.len() >= TICKETS_MAX {
            let detail = "there are too many tickets that have not ended yet; one lasts a minute, \
                          and may open several streams";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
            return Err(problem.with(header::RETRY_AFTER, "60"));
        }
        let bytes: [u8; 32] = rand::random();
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let ticket = Ticket {
            caller: caller.within(view),
            view: view.into(),
            until: now + LIFETIME,
        };
        tickets.insert(fingerprint(&text), ticket);
        Ok(text)
    }

    /// Whose ticket this is, and for which view.
    pub(super) fn find(&self, text: &str, now: Instant) -> Result<(Caller, Arc<str>), Problem> {
        let tickets = self.tickets();
        let found = tickets.get(&fingerprint(text));
        let found = found.filter(|ticket| ticket.until > now);
        let found = found.map(|ticket| (ticket.caller.clone(), Arc::clone(&ticket.view)));
        found.ok_or_else(|| {
            unauthorized(
                "this ticket is none of this host's, or has ended; ask for another one with POST \
                 at the same path",
            )
        })
    }

    /// Nobody panics in there.
    fn tickets(&self) -> MutexGuard<'_, HashMap<Fingerprint, Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn issue(
    State(gateway): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (view, _) = in_path(path)?;
    caller.check(&view)?;
    let view = gateway.view(&view)?;
    if uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(bad(
            "a ticket takes no parameters; they belong to the request that opens the stream",
        ));
    }
    let ticket = gateway
        .tickets
        .issue(caller, &view.id.name, Instant::now())?;
    let body = json!({ "ticket": ticket, "expires_in": LIFETIME.as_secs() });
    let mut response = answer(StatusCode::CREATED, &body).into_response();
    let no_store = axum::http::HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// Takes the parameter `ticket` out of a request's address: nobody behind shall see it.
pub(super) fn take(uri: &mut Uri) -> Option<String> {
    let query = uri.query()?;
    let is_ticket = |parameter: &&str| parameter.starts_with("ticket=");
    let ticket = query.split('&').find(is_ticket)?;
    let ticket = ticket.trim_start_matches("ticket=").to_owned();
    let rest: Vec<&str> = query.split('&').filter(|other| !is_ticket(other)).collect();
    let path = uri.path();
    let text = match rest.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", rest.join("&")),
    };
    // A part of what was an address is one.
    *uri = text.parse().unwrap_or_default();
    Some(ticket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_taken_out_of_the_address() {
        let cases = [
            ("/v/a/1/events?ticket=ab", Some("ab"), "/v/a/1/events"),
            (
                "/v/a/1/events?fields=x&ticket=ab&ticket=cd",
                Some("ab"),
                "/v/a/1/events?fields=x",
            ),
            ("/v/a/1/events?ticket=", Some(""), "/v/a/1/events"),
            ("/v/a/1/events?fields=x", None, "/v/a/1/events?fields=x"),
            ("/v/a/1/events", None, "/v/a/1/events"),
        ];
        for (text, ticket, rest) in cases {
            let mut uri: Uri = text.parse().expect("an address");
            assert_eq!(take(&mut uri).as_deref(), ticket, "{text}");
            assert_eq!(uri, rest, "{text}");
        }
    }
}
