//! Projections over HTTP.
//!
//! - `GET /projections`: each with its state, its plugin, and its partitions on this host.
//! - `GET /projections/{name}/logs`: the last lines that its plugin has logged on this host,
//!   `?tail=` of them (100, at most 1,000); with `?after=NUMBER`, those with higher numbers.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};

use super::Desks;
use super::access::{Caller, Role};
use super::api::{About, Answer, Api, Body, Method};
use super::problem::{Problem, answer};
use super::query::Query;
use crate::plugin::{LINES_MAX, Tails};
use crate::telemetry::health::Health;

/// What is known of projections; there from the start.
#[derive(Clone)]
pub struct ProjectionDesk {
    health: Health,
    tails: Tails,
}

const TAIL: usize = 100;

impl ProjectionDesk {
    pub fn new(health: Health, tails: Tails) -> Self {
        ProjectionDesk { health, tails }
    }
}

const LIST: About = About {
    summary: "Each projection with its state, its plugin, and its partitions on this host",
    query: &[],
    body: Body::None,
    answers: &[(StatusCode::OK, Answer::Json("Projections"))],
    refusals: &[],
};

const LOGS: About = About {
    summary: "The last lines that a projection's plugin has logged on this host",
    query: &[
        ("tail", "how many: 100, at most 1000"),
        ("after", "the number of a line; those behind it"),
    ],
    answers: &[(StatusCode::OK, Answer::Json("Lines"))],
    refusals: &[StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND],
    ..LIST
};

pub(super) fn routes(api: Api) -> Api {
    const LOGS_PATH: &str = "/projections/{name}/logs";
    api.guarded(Role::Read, Method::Get, "/projections", list, LIST)
        .guarded(Role::Read, Method::Get, LOGS_PATH, logs, LOGS)
}

async fn list(State(desks): State<Desks>, Extension(caller): Extension<Caller>) -> Response {
    let projections = desks.projections.health.readiness().projections;
    let projections = projections
        .into_iter()
        .filter(|(name, _)| caller.scope.has(name));
    let projections = projections.map(|(name, projection)| {
        let mut body = serde_json::to_value(projection).expect("plain data serializes");
        body["name"] = Value::String(name);
        body
    });
    let projections: Vec<Value> = projections.collect();
    answer(StatusCode::OK, &json!({ "projections": projections }))
}

async fn logs(
    State(desks): State<Desks>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["tail", "after"])?;
    let limit = query.count("tail", TAIL, LINES_MAX)?;
    let after = query.position("after")?;
    let ProjectionDesk { health, tails } = &desks.projections;
    if health.projection(&name).is_none() {
        let detail = format!(
            "this host has no projection \"{name}\"; GET /projections lists those that it has"
        );
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    let tail = tails.of(&name);
    let body = json!({ "lines": tail.last(limit, after), "written": tail.written() });
    Ok(answer(StatusCode::OK, &body))
}
