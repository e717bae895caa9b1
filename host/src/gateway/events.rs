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
//! A stream stays with one copy while that answers. It ends when no copy answers, when the host
//! stops, when its token ends or is not taken any more, and after `gateway.stream-lifetime`;
//! readers connect again by themselves. Whatever the document and the stores do, a reader is sent
//! something every few seconds ([`Feed`]).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::access::{Caller, Credentials};
use super::ask::{Ask, bad, in_path};
use super::copies::{Copy, Route};
use super::get::render;
use super::positions::Position;
use super::streams::Place;
use super::{Shared, View, etag, outage};
use crate::http::credentials::unauthorized;
use crate::http::problem::Problem;
use crate::store::envelope;

/// Between two looks at a document, however often it changes.
const PAUSE: Duration = Duration::from_millis(200);

/// A copy that has gone tells of no change any more, so it is asked.
const RECHECK: Duration = Duration::from_secs(15);

/// For a reader that has lost its connection.
const GREETING: &[u8] = b"retry: 1000\n\n";

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
    looked: Instant,
}

/// A copy, and when to look at it again.
struct Source {
    copy: Arc<Copy>,
    /// What the reader has seen includes no more than this.
    position: Arc<Position>,
    changes: watch::Receiver<Arc<Position>>,
}

/// What is sent to a reader: the changes, and something else where there is none for long.
struct Feed {
    gateway: Arc<Shared>,
    caller: Caller,
    view: Arc<str>,
    /// Goes on where it was, however often the reader is sent something else meanwhile.
    changes: Pin<Box<dyn futures_util::Stream<Item = Bytes> + Send>>,
    /// Of tokens and keys.
    access: watch::Receiver<Arc<Credentials>>,
    quiet: Pin<Box<Sleep>>,
    end: Instant,
    _place: Place,
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
    let place = gateway.streams.enter(&caller.client)?;
    let known = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let mut stream = Stream {
        view: Arc::clone(&view.id.name),
        id,
        ask,
        known: known.map(str::to_owned),
        next: None,
        client: Arc::clone(&caller.from),
        source: None,
        looked: Instant::now(),
        gateway: Arc::clone(&gateway),
    };
    // What changes from here on is noticed.
    let access = gateway.setup.access.changes();
    if !gateway.setup.access.still_admits(&caller, &name) {
        return Err(unauthorized("this token is not taken any more"));
    }
    // What is wrong from the start is told as it is for one document.
    stream.look().await?;
    let first = stream.next.take().unwrap_or_default();
    stream.next = Some([GREETING, &first].concat().into());
    let changes = stream::unfold(stream, async |mut stream| {
        let event = stream.event().await?;
        Some((event, stream))
    });
    let now = Instant::now();
    let end = now + gateway.limits.stream_lifetime;
    let feed = Feed {
        view: Arc::clone(&view.id.name),
        changes: Box::pin(changes),
        access,
        quiet: Box::pin(tokio::time::sleep(gateway.limits.stream_keep_alive)),
        end: caller.until.map_or(end, |until| until.min(end)),
        caller,
        gateway,
        _place: place,
    };
    let body = stream::unfold(feed, async |mut feed| {
        let next = feed.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(next), feed))
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

impl Feed {
    /// The next thing to send; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let next = tokio::select! {
                // Whatever was being read is read again by the reader's next stream.
                biased;
                () = self.gateway.stop.cancelled() => None,
                () = tokio::time::sleep_until(self.end) => None,
                // Each is seen, also where it came between two calls.
                changed = self.access.changed() => {
                    let access = &self.gateway.setup.access;
                    if changed.is_ok() && access.still_admits(&self.caller, &self.view) {
                        continue;
                    }
                    None
                }
                // The stream keeps what it has begun.
                next = self.changes.next() => next,
                () = &mut self.quiet => Some(Bytes::from_static(b":\n\n")),
            };
            let quiet = Instant::now() + self.gateway.limits.stream_keep_alive;
            self.quiet.as_mut().reset(quiet);
            return next;
        }
    }
}

impl Stream {
    /// Waits for the next version.
    async fn event(&mut self) -> Option<Bytes> {
        loop {
            if let Some(next) = self.next.take() {
                return Some(next);
            }
            let changes = &mut self.source.as_mut()?.changes;
            match tokio::time::timeout(RECHECK, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) if self.gateway.view(&self.view).ok()?.copies.are_several() => {}
                Err(_) => continue,
            }
            tokio::time::sleep_until(self.looked + PAUSE).await;
            self.look().await.ok()?;
        }
    }

    /// Reads the document, and makes an event of it where it is new to the reader.
    async fn look(&mut self) -> Result<(), Problem> {
        self.looked = Instant::now();
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
