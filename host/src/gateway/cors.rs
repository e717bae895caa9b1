//! Which other sites' pages may read views in a browser (the Fetch standard's CORS protocol).
//!
//! Cookies play no part here: a page sends a token like everybody else, or none.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Sites whose pages may read; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    #[default]
    None,
    All,
    /// Scheme, host and port, as in `https://app.example.org`.
    These(BTreeSet<String>),
}

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");

/// What a page may send.
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, if-none-match, last-event-id");

/// What a page may see of an answer.
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, projectionist-position, projectionist-freshness, ratelimit-limit, \
     ratelimit-remaining, ratelimit-reset, retry-after",
);

/// How long a browser need not ask again, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

impl Origins {
    /// The site that a request comes from, where its pages may read.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let allowed = match self {
            Origins::None => false,
            Origins::All => true,
            Origins::These(origins) => origin.to_str().is_ok_and(|o| origins.contains(o)),
        };
        allowed.then(|| origin.clone())
    }
}

/// True where a browser asks whether it may ask.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    let asks = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    method == Method::OPTIONS && asks && headers.contains_key(header::ORIGIN)
}

/// The answer to that; without an allowed origin it allows nothing.
pub(super) fn preflight(origin: Option<&HeaderValue>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_name(header::ORIGIN));
    if let Some(origin) = origin {
        let allow: [(HeaderName, HeaderValue); 4] = [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ];
        headers.extend(allow);
    }
    response
}

/// Lets the page see an answer.
pub(super) fn tell(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
    headers.insert(header::VARY, HeaderValue::from_name(header::ORIGIN));
}
