//! `GET /views/{view}/{id}`: one document.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bson::raw::RawDocument;
use tokio::time::Instant;
use tracing::warn;

use super::access::Caller;
use super::ask::{Ask, in_path};
use super::copies::Copy;
use super::fields::write_document;
use super::fresh::{self, Want};
use super::{Shared, View, etag, outage};
use crate::http::problem::Problem;
use crate::store::envelope::{self, Invalid};
use crate::telemetry::recurring;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Whoever keeps an answer asks each time whether it still holds, with its `ETag`.
pub(super) const NO_CACHE: HeaderValue = HeaderValue::from_static("private, no-cache");

pub(super) async fn get(
    State(gateway): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let (view, id) = in_path(path)?;
    caller.check(&view)?;
    let view = gateway.view(&view)?;
    let ask = Ask::read(&uri, gateway.limits.wait_max)?;
    fresh::check_token(view, &ask)?;
    let want = Want {
        view,
        ask: &ask,
        id: Some(&id),
        client: &caller.from,
        asked: Instant::now(),
    };
    gateway.within(&ask, answer(&want, &id, &headers)).await
}

async fn answer(want: &Want<'_>, id: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let Want { view, ask, .. } = *want;
    let route = want.route();
    let read = view.copies.read(&route, |copy| async move {
        let found = fresh::read(&copy, want, |reader| reader.document(&view.id, id)).await?;
        Ok((copy, found))
    });
    let found = read.await.map_err(|error| outage(&error))?;
    let (copy, found) = found;
    let (sealed, position) = found.or_problem(want)?;
    let mut response = match sealed {
        None => no_document(&view.id.name, id).into_response(),
        Some(sealed) => show(want, &copy, headers, &sealed)?,
    };
    fresh::tell(response.headers_mut(), &position, ask);
    Ok(response)
}

fn show(
    want: &Want<'_>,
    copy: &Copy,
    headers: &HeaderMap,
    sealed: &RawDocument,
) -> Result<Response, Problem> {
    let Want { view, ask, .. } = *want;
    let stamp = envelope::stamp(sealed).map_err(|invalid| foreign(view, &invalid))?;
    let etag = etag::header(&etag::tag(&stamp, copy.mark()));
    let known = etag
        .as_ref()
        .is_some_and(|etag| etag::is_known(headers, etag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = render(view, sealed, ask)?;
        ([(header::CONTENT_TYPE, JSON)], body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    if let Some(etag) = etag {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

/// A document's JSON.
pub(super) fn render(view: &View, sealed: &RawDocument, ask: &Ask) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::with_capacity(2 * sealed.as_bytes().len());
    write(&mut body, view, sealed, ask)?;
    Ok(body)
}

/// Appends a document's JSON.
pub(super) fn write(
    body: &mut Vec<u8>,
    view: &View,
    sealed: &RawDocument,
    ask: &Ask,
) -> Result<(), Problem> {
    write_document(body, sealed, ask.fields.as_ref()).map_err(|error| {
        let id = sealed.get_str("_id").unwrap_or_default().to_owned();
        let message = error.to_string();
        foreign(view, &Invalid { id, message })
    })
}

fn no_document(view: &str, id: &str) -> Problem {
    let detail = format!("view \"{view}\" has no document \"{id}\"");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// What a foreign hand wrote is not shown.
pub(super) fn foreign(view: &View, Invalid { id, message }: &Invalid) -> Problem {
    let name = &view.id.name;
    if recurring::admit("foreign documents", name, message) {
        warn!("document \"{id}\" of view \"{name}\" is not one of this host's: {message}");
    }
    let detail = format!(
        "document \"{id}\" of view \"{name}\" is not one of this host's; somebody else has \
         written it into the store"
    );
    Problem::new(StatusCode::BAD_GATEWAY, detail)
}
