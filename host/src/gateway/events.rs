//! `GET /views/{view}/{id}/events`: a document whenever it changes, as server-sent events (HTML
//! Standard, 9.2).
//!
//! ```text
//! id: 3-flights-2-77-0123456789ab       the version, as in ETag
//! event: document                       or "missing": there is none now
//! data: {"_id":"N1",…}
//! ```
//!
//! The first event tells how the document is, unless the reader has this version already
//! (`Last-Event-ID`, which browsers send by themselves when they connect again). Then each change
//! follows. Versions that come quickly one after the other may be told as one: the newest.
//!
//! A stream stays with one copy while that answers, and ends when no copy answers, when the host stops, and after an hour, so that a token is
//! looked at again; readers connect again by themselves.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::access::Caller;
use super::ask::{Ask, bad, in_path};
use super::copies::{Copy, Route};
use super::get::render;
use super::positions::Position;
use super::{Shared, View, etag, outage};
use crate::http::problem::Problem;
use crate::store::envelope;

/// Between two looks at a document, however often it changes.
const PAUSE: Duration = Duration::from_millis(200);

/// Without a change, a comment tells that both ends are still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const LIFETIME: Duration = Duration::from_hours(1);

/// The version of a document that does not exist.
const MISSING: &str = "missing";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A reader's stream.
struct Stream {
    gateway: Arc<Shared>,
    view: Arc<str>,
    id: String,
    ask: Ask,
    /// The version that the reader has.
    known: Option<String>,
    /// What has been read and is not sent yet.
    next: Option<Bytes>,
    /// The reader's IP address.
    client: Arc<str>,
    /// Where the document was last read; `None` before the first read.
    source: Option<Source>,
    end: Instant,
    _place: Place,
}

/// A copy, and when to look at it again.
struct Source {
    copy: Arc<Copy>,
    /// What the reader has seen includes no more than this.
    position: Arc<Position>,
    changes: watch::Receiver<Arc<Position>>,
}

/// Counts the stream as long as it lives.
struct Place(
    #[expect(dead_code, reason = "it is given back when it is dropped")] OwnedSemaphorePermit,
);

impl Place {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        gauge!("projectionist_gateway_streams").increment(1.0);
        Place(permit)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!("projectionist_gateway_streams").decrement(1.0);
    }
}

pub(super) async fn events(
    State(gateway): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let (name, id) = in_path(path)?;
    caller.check(&name)?;
    let view = gateway.view(&name)?;
    let ask = Ask::read(&uri, gateway.limits.wait_max)?;
    if ask.after.is_some() {
        return Err(bad(
            "a stream tells of every change, so it takes no \"after\"; leave it out",
        ));
    }
    let Ok(permit) = Arc::clone(&gateway.streams).try_acquire_owned() else {
        let detail = "this host serves as many streams as it may (gateway.streams); ask another \
                      host, or later";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        return Err(problem.with(header::RETRY_AFTER, "10"));
    };
    let known = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let mut stream = Stream {
        view: Arc::clone(&view.id.name),
        id,
        ask,
        known: known.map(str::to_owned),
        next: None,
        client: caller.from,
        source: None,
        end: Instant::now() + LIFETIME,
        _place: Place::new(permit),
        gateway: Arc::clone(&gateway),
    };
    // What is wrong from the start is told as it is for one document.
    stream.look().await?;
    let greeting = stream.next.take();
    let greeting = [b"retry: 1000\n\n", greeting.as_deref().unwrap_or_default()].concat();
    stream.next = Some(greeting.into());
    let body = stream::unfold(stream, async |mut stream| {
        let event = stream.event().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(event), stream))
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

impl Stream {
    /// The next thing to send; `None` ends the stream.
    async fn event(&mut self) -> Option<Bytes> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        let stop = self.gateway.stop.clone();
        tokio::select! {
            // Whatever was being read is read again by the reader's next stream.
            () = stop.cancelled() => None,
            event = self.change() => event,
        }
    }

    /// Waits for the next version, or until it is time for a comment.
    async fn change(&mut self) -> Option<Bytes> {
        let quiet = Instant::now() + KEEP_ALIVE;
        loop {
            let pause = tokio::time::sleep(PAUSE);
            let changes = &mut self.source.as_mut()?.changes;
            let moved = tokio::time::timeout_at(quiet, changes.changed());
            match moved.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) if Instant::now() >= self.end => return None,
                Err(_) => {
                    // A copy that has gone tells of no change any more.
                    if self.gateway.view(&self.view).ok()?.copies.are_several() {
                        self.look().await.ok()?;
                    }
                    let comment = || Bytes::from_static(b":\n\n");
                    return Some(self.next.take().unwrap_or_else(comment));
                }
            }
            self.look().await.ok()?;
            if let Some(next) = self.next.take() {
                return Some(next);
            }
            pause.await;
        }
    }

    /// Reads the document, and makes an event of it where it is new to the reader.
    async fn look(&mut self) -> Result<(), Problem> {
        let gateway = Arc::clone(&self.gateway);
        let view: &View = gateway.view(&self.view)?;
        let id = &self.id;
        let route = Route {
            key: id,
            client: &self.client,
            after: None,
            // Another copy may be a little behind what the reader has seen.
            stay: self.source.as_ref().map(|source| &*source.copy.name),
            is_quick: true,
        };
        let read = view.copies.read(&route, |copy| async move {
            // What moves after this is looked at again.
            let mut changes = copy.opened()?.positions.changes();
            changes.mark_unchanged();
            let position = Arc::clone(&changes.borrow());
            let found = copy.within(copy.reader()?.document(&view.id, id)).await?;
            let source = Source {
                copy,
                position,
                changes,
            };
            Ok((source, found))
        });
        let (mut source, found) = read.await.map_err(|error| outage(&error))?;
        let seen = self.source.take().map(|before| before.position);
        let is_older = seen.filter(|seen| source.position.behind(seen) > 0);
        if let Some(seen) = is_older {
            // Another copy, which has yet to come so far.
            source.position = seen;
            self.source = Some(source);
            return Ok(());
        }
        let copy = Arc::clone(&source.copy);
        self.source = Some(source);
        let (tag, event, data) = match &found {
            None => {
                let data = serde_json::json!({ "_id": id }).to_string();
                (MISSING.to_owned(), "missing", data.into_bytes())
            }
            Some(sealed) => {
                let stamp = envelope::stamp(sealed)
                    .map_err(|invalid| super::get::foreign(view, &invalid))?;
                (
                    etag::tag(&stamp, copy.mark()),
                    "document",
                    render(view, sealed, &self.ask)?,
                )
            }
        };
        if self.known.as_ref() == Some(&tag) {
            return Ok(());
        }
        let head = format!("id: {tag}\nevent: {event}\ndata: ");
        self.next = Some([head.as_bytes(), &data, b"\n\n"].concat().into());
        self.known = Some(tag);
        Ok(())
    }
}
