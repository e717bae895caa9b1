//! `GET /views/{view}`: documents of a view, page by page.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::access::Caller;
use super::ask::{Ask, bad, in_path, once, parameters};
use super::fresh::{self, Want};
use super::get::{self, JSON, NO_CACHE};
use super::select::Select;
use super::{Shared, View, cursor, outage};
use crate::http::problem::Problem;
use crate::store::list::{List, Page};

/// Documents of a page where the request says nothing else, and the most that it may ask for.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;

pub(super) async fn list(
    State(gateway): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let view = in_path(path)?;
    caller.check(&view)?;
    let view = gateway.view(&view)?;
    let (ask, list) = read(view, &uri, &gateway)?;
    fresh::check_token(view, &ask)?;
    let want = Want {
        view,
        ask: &ask,
        id: None,
        client: &caller.from,
        asked: Instant::now(),
    };
    let key = &gateway.setup.cursors;
    gateway.within(&ask, answer(&want, &list, key)).await
}

fn read(view: &View, uri: &Uri, gateway: &Shared) -> Result<(Ask, List), Problem> {
    let mut ask = Ask::default();
    let mut select = Select::default();
    let (mut limit, mut cursor) = (None, None);
    for (name, value) in parameters(uri)? {
        match &*name {
            "limit" => once(&mut limit, &name, read_limit(&value)?)?,
            "cursor" => once(&mut cursor, &name, value)?,
            _ if ask.take(&name, &value, gateway.limits.wait_max)? => {}
            _ => select.take(&name, &value, &view.indexes)?,
        }
    }
    let plan = select.plan(&view.id.name, &view.indexes)?;
    let mut list = List {
        index: plan.index,
        equal: plan.equal,
        range: plan.range,
        direction: plan.direction,
        after: None,
        limit: limit.unwrap_or(LIMIT),
    };
    if let Some(cursor) = cursor {
        list.after = Some(cursor::read(
            &gateway.setup.cursors,
            &view.id,
            &list,
            &cursor,
        )?);
    }
    Ok((ask.checked()?, list))
}

fn read_limit(text: &str) -> Result<usize, Problem> {
    match text.parse() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Ok(_) | Err(_) => Err(bad(format!(
            "limit={text} is no number from 1 to {LIMIT_MAX}"
        ))),
    }
}

async fn answer(want: &Want<'_>, list: &List, key: &cursor::Key) -> Result<Response, Problem> {
    let Want { view, ask, .. } = *want;
    let route = want.route();
    let read = view.copies.read(&route, |copy| async move {
        fresh::read(&copy, want, |reader| reader.list(&view.id, list)).await
    });
    let found = read.await.map_err(|error| outage(&error))?;
    let (page, position) = found.or_problem(want)?;
    let next = page.documents.last().filter(|_| page.more);
    let next = next.map(|last| cursor::behind(key, &view.id, list, last));
    let body = render(view, ask, &page, next)?;
    let headers = [
        (header::CONTENT_TYPE, JSON),
        (header::CACHE_CONTROL, NO_CACHE),
    ];
    let mut response = (headers, body).into_response();
    fresh::tell(response.headers_mut(), &position, ask);
    Ok(response)
}

/// `{"documents": […], "next": "…"}`; `next` is missing on the last page.
fn render(view: &View, ask: &Ask, page: &Page, next: Option<String>) -> Result<Vec<u8>, Problem> {
    let bytes: usize = page.documents.iter().map(|d| d.as_bytes().len()).sum();
    let mut body = Vec::with_capacity(2 * bytes + 256);
    body.extend_from_slice(b"{\"documents\":[");
    for (index, sealed) in page.documents.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        get::write(&mut body, view, sealed, ask)?;
    }
    body.push(b']');
    if let Some(next) = next {
        // Letters, digits, hyphens and underscores need no escapes.
        body.extend_from_slice(b",\"next\":\"");
        body.extend_from_slice(next.as_bytes());
        body.push(b'"');
    }
    body.push(b'}');
    Ok(body)
}
