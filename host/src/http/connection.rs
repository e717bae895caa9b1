//! One connection of a client: its time-outs, and what is said where hyper would only close it.
//!
//! - A client that takes no byte of an answer within the write time-out is cut off, so that slow
//!   ones cannot collect in the host.
//! - A request that is no HTTP, or whose head is too large, is answered by hyper itself, without a
//!   body. Here it gets one, as all refusals have.
//! - What a client was still sending is read away for a moment after the last answer, for otherwise
//!   that would be lost with the connection.
//! - A client that has no place ([`places`](super::places)) is told so, unless it asks for one of
//!   the few paths that are served always.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::names::check_host;
use super::peer::Peer;
use super::places::{Activity, Busy, Full, Moments};
use super::problem::Problem;
use super::server::Terms;

/// What a request's line and headers may take. A token of a thousand partitions fits.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// What is read away of a request that was refused, and for how long.
const LINGER_BYTES_MAX: u64 = 8 << 20;
const LINGER: Duration = Duration::from_secs(2);

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client without a place may take to ask for what is served always.
const LOBBY_TIMEOUT: Duration = Duration::from_secs(2);

/// What all connections of a port share.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) router: Router,
    pub(super) terms: Terms,
    pub(super) moments: Arc<Moments>,
    /// Of those without a place, so many are waited for after the last answer.
    pub(super) farewells: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

/// How a connection is served.
#[derive(Clone)]
pub(super) enum Standing {
    Seated(Arc<Activity>),
    /// Without a place, until the token says that it has to go.
    Lobby(Full, CancellationToken),
}

/// Serves requests until the client goes, is too slow, or the host stops.
pub(super) async fn serve(stream: TcpStream, peer: Peer, served: Served, standing: Standing) {
    // An answer is one write; waiting for more would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(peer = %peer.text, %error, "the connection is gone already");
        return;
    }
    let Served { terms, stop, .. } = &served;
    let (activity, leave, idle_timeout) = match &standing {
        Standing::Seated(activity) => {
            let leave = activity.leave.clone();
            (Some(Arc::clone(activity)), leave, terms.idle_timeout)
        }
        Standing::Lobby(_, leave) => (None, leave.clone(), LOBBY_TIMEOUT),
    };
    let io = TokioIo::new(Guarded::new(stream, terms.write_timeout, activity));
    let service = Entry {
        router: TowerToHyperService::new(served.router.clone()),
        moments: Arc::clone(&served.moments),
        standing: standing.clone(),
        terms: terms.clone(),
        peer: peer.clone(),
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .max_header_size(HEAD_BYTES_MAX)
        .keep_alive(matches!(standing, Standing::Seated(_)))
        .serve_connection(io, service);
    let mut stopping = false;
    let outcome = loop {
        tokio::select! {
            // May be dropped and begun anew: the connection keeps its state.
            outcome = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break Some(outcome),
            () = leave.cancelled() => break None,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let mut stream = connection.into_parts().io.into_inner();
    let is_answered = match outcome {
        Some(Ok(())) => !stopping,
        Some(Err(error)) => {
            debug!(peer = %peer.text, %error, "a connection ended");
            error.is_parse()
        }
        None => false,
    };
    match standing {
        Standing::Seated(_) if is_answered => tokio::select! {
            () = linger(&mut stream.stream) => {}
            () = leave.cancelled() => {}
        },
        // The client may have closed it first.
        Standing::Seated(_) => drop(stream.shutdown().await),
        Standing::Lobby(full, _) => {
            if !stream.has_written {
                // Without waiting: a socket has room for so much, and who does not take it has gone.
                drop(stream.stream.try_write(&bare(&terms.too_many(full))));
            }
            if let Ok(_permit) = served.farewells.try_acquire() {
                linger(&mut stream.stream).await;
            }
        }
    }
}

/// The router, with the client's address in each request.
struct Entry {
    router: TowerToHyperService<Router>,
    moments: Arc<Moments>,
    standing: Standing,
    terms: Terms,
    peer: Peer,
}

impl hyper::service::Service<Request<Incoming>> for Entry {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let busy = match &self.standing {
            Standing::Seated(activity) => Some(activity.begin(&self.moments)),
            Standing::Lobby(full, _) => {
                if !self.terms.always.contains(&request.uri().path()) {
                    let refused = self.terms.too_many(*full).into_response();
                    return Box::pin(std::future::ready(Ok(refused)));
                }
                None
            }
        };
        if let Err(problem) = check_host(&request) {
            return Box::pin(std::future::ready(Ok(problem.into_response())));
        }
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.router.call(request.map(Timely::new));
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| Body::new(Tracked { body, _busy: busy })))
        })
    }
}

/// The body of a request, which fails where it does not come to its end in time: until then it
/// holds its connection, and whatever the route has taken for it.
struct Timely {
    body: Incoming,
    end: Option<Pin<Box<Sleep>>>,
}

impl Timely {
    fn new(body: Incoming) -> Self {
        Timely { body, end: None }
    }
}

impl hyper::body::Body for Timely {
    type Data = <Incoming as hyper::body::Body>::Data;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        let end = self
            .end
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_TIMEOUT)));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body during which its connection is not idle.
struct Tracked {
    body: Body,
    _busy: Option<Busy>,
}

impl hyper::body::Body for Tracked {
    type Data = <Body as hyper::body::Body>::Data;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that fails where nobody reads, and completes hyper's own refusals.
struct Guarded {
    stream: TcpStream,
    write_timeout: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// A refusal that is being written in place of hyper's.
    refusal: Option<Refusal>,
    has_written: bool,
    /// Of a connection that has a place.
    activity: Option<Arc<Activity>>,
}

struct Refusal {
    bytes: Vec<u8>,
    written: usize,
}

impl Guarded {
    fn new(stream: TcpStream, write_timeout: Duration, activity: Option<Arc<Activity>>) -> Self {
        Guarded {
            stream,
            write_timeout,
            stalled: None,
            refusal: None,
            has_written: false,
            activity,
        }
    }

    /// From the first byte of an answer until the last one is with the system.
    fn set_writing(&mut self, is_writing: bool) {
        self.has_written |= is_writing;
        if let Some(activity) = &self.activity {
            activity.set_writing(is_writing);
        }
    }

    /// Passes a write on, unless it has waited too long.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let timeout = self.write_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(refusal) = &mut self.refusal {
            let rest = &refusal.bytes[refusal.written..];
            if rest.is_empty() {
                self.refusal = None;
                break;
            }
            let written = Pin::new(&mut self.stream).poll_write(cx, rest);
            let count = ready!(self.in_time(cx, written))?;
            if let Some(refusal) = &mut self.refusal {
                refusal.written += count;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Ends an answer, and reads away what the client is still sending.
async fn linger(stream: &mut TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = stream.take(LINGER_BYTES_MAX);
    let mut sink = tokio::io::sink();
    let drained = tokio::io::copy(&mut rest, &mut sink);
    // Whatever comes of it: the answer has been sent, and the connection ends.
    drop(tokio::time::timeout(LINGER, drained).await);
}

/// The answer in full to what hyper answers with a bare head: only requests that never came to
/// the router are answered so.
fn refusal(head: &[u8]) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(head).ok()?;
    if !head
        .to_ascii_lowercase()
        .contains("\r\ncontent-length: 0\r\n")
    {
        return None;
    }
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let (status, detail) = match status {
        "400" => (
            StatusCode::BAD_REQUEST,
            "this is no HTTP request".to_owned(),
        ),
        "414" => (
            StatusCode::URI_TOO_LONG,
            format!("the path is too long; a request's head may have {HEAD_BYTES_MAX} bytes"),
        ),
        "431" => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            format!(
                "the headers are too large; a request's head may have {HEAD_BYTES_MAX} bytes, \
                 the path included"
            ),
        ),
        _ => return None,
    };
    Some(bare(&Problem::new(status, detail)))
}

/// An answer as bytes, after which the connection ends.
fn bare(problem: &Problem) -> Vec<u8> {
    let body = format!("{:#}\n", problem.body());
    format!(
        "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        problem.status(),
        body.len()
    )
    .into_bytes()
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.set_writing(true);
        if self.refusal.is_none()
            && bytes.starts_with(b"HTTP/1.1 4")
            && let Some(full) = refusal(bytes)
        {
            self.refusal = Some(Refusal {
                bytes: full,
                written: 0,
            });
        }
        if self.refusal.is_some() {
            ready!(self.poll_refusal(cx))?;
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head without a body is one slice.
        if let [only] = slices {
            return self.poll_write(cx, only);
        }
        self.set_writing(true);
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        let flushed = self.in_time(cx, flushed);
        if flushed.is_ready() {
            self.set_writing(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
