//! One connection of a reader: its time-outs, and what is said where hyper would only close it.
//!
//! - A reader that takes no byte of an answer within the write time-out is cut off, so that slow
//!   readers cannot collect in the host.
//! - A request that is no HTTP, or whose head is too large, is answered by hyper itself, without a
//!   body. Here it gets one, as all refusals have; and what the reader was still sending is read
//!   away for a moment, for otherwise the answer would be lost with the connection.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Limits;
use crate::http::problem::Problem;

/// The address of the other end of a connection, which may be a proxy.
#[derive(Clone, Debug)]
pub(super) struct Peer(pub(super) Arc<str>);

/// What a request's line and headers may take. A token of a thousand partitions fits.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// What is read away of a request that was refused, and for how long.
const LINGER_BYTES_MAX: u64 = 8 << 20;
const LINGER: Duration = Duration::from_secs(2);

/// Serves requests until the reader goes, is too slow, or the host stops.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    // An answer is one write; waiting for more would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "the connection is gone already");
        return;
    }
    let io = TokioIo::new(Guarded::new(stream, limits.write_timeout));
    let service = Entry {
        router: TowerToHyperService::new(router),
        peer: Peer(peer.ip().to_string().into()),
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(io, service);
    let mut stopping = false;
    let outcome = loop {
        tokio::select! {
            // May be dropped and begun anew: the connection keeps its state.
            outcome = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break outcome,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let mut stream = connection.into_parts().io.into_inner();
    match outcome {
        Ok(()) => {}
        Err(error) if error.is_parse() => linger(&mut stream.stream).await,
        Err(error) => {
            debug!(%peer, %error, "a connection ended");
            return;
        }
    }
    // The reader may have closed it first.
    stream.shutdown().await.ok();
}

/// The router, with the reader's address in each request.
struct Entry {
    router: TowerToHyperService<Router>,
    peer: Peer,
}

impl hyper::service::Service<Request<Incoming>> for Entry {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future =
        <TowerToHyperService<Router> as hyper::service::Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.router.call(request)
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
}

struct Refusal {
    bytes: Vec<u8>,
    written: usize,
}

impl Guarded {
    fn new(stream: TcpStream, write_timeout: Duration) -> Self {
        Guarded {
            stream,
            write_timeout,
            stalled: None,
            refusal: None,
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

/// Ends an answer, and reads away what the reader is still sending.
pub(super) async fn linger(stream: &mut TcpStream) {
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
pub(super) fn bare(problem: &Problem) -> Vec<u8> {
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
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.in_time(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
