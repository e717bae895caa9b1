//! Parked events over HTTP, as `projectionist parked` has them. JSON in, JSON out.
//!
//! - `GET /parked`: the parked keys of all projections.
//! - `GET /parked/{projection}/{topic}/{partition}/{offset}`: one key, with its first 100 events.
//! - `POST …/drain`: fold its events; `{"plugin": "HASH"}` with a plugin that is in the store.
//! - `POST …/skip`: give one event up; `{"offset": 12, "reason": "a test order"}`.
//!
//! A request is answered with 202 as soon as it is stored: the partition's owner, which may be
//! another host, carries it out.

use std::sync::{Arc, OnceLock};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desks;
use super::access::{Caller, Role};
use super::api::{About, Answer, Api, Body, Method};
use super::problem::{Problem, answer};
use super::read;
use crate::parked::Action;
use crate::parked::desk::{Desk, Error, ParkedId};
use crate::parked::json::{event_to_json, key_to_json};
use crate::record::{Offset, TopicPartition};

/// The desk, as soon as the stores are open.
#[derive(Clone, Default)]
pub struct ParkedDesk(Arc<OnceLock<Desk>>);

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct DrainBody {
    plugin: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SkipBody {
    offset: i64,
    reason: String,
}

type KeyPath = Result<Path<(String, String, i32, i64)>, PathRejection>;

/// Events that are shown of one key.
const EVENTS_SHOWN: usize = 100;

impl ParkedDesk {
    /// To be called once.
    pub fn open(&self, desk: Desk) {
        self.0.get_or_init(|| desk);
    }

    fn get(&self) -> Result<&Desk, Problem> {
        self.0.get().ok_or_else(Problem::starting)
    }
}

const LIST: About = About {
    summary: "The parked keys of all projections",
    query: &[],
    body: Body::None,
    answers: &[(StatusCode::OK, Answer::Json("ParkedKeys"))],
    refusals: &[],
};

const SHOW: About = About {
    summary: "A parked key, with its first events",
    answers: &[(StatusCode::OK, Answer::Json("ParkedEvents"))],
    refusals: &[StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND],
    ..LIST
};

const DRAIN: About = About {
    summary: "Have the events of a parked key folded, in their order",
    body: Body::JsonOrNothing("Drain"),
    answers: &[(StatusCode::ACCEPTED, Answer::Json("Requested"))],
    ..SHOW
};

const SKIP: About = About {
    summary: "Give one parked event up",
    body: Body::Json("Skip"),
    ..DRAIN
};

pub(super) fn routes(api: Api) -> Api {
    const KEY: &str = "/parked/{projection}/{topic}/{partition}/{offset}";
    const DRAIN_PATH: &str = "/parked/{projection}/{topic}/{partition}/{offset}/drain";
    const SKIP_PATH: &str = "/parked/{projection}/{topic}/{partition}/{offset}/skip";
    api.guarded(Role::Read, Method::Get, "/parked", list, LIST)
        .guarded(Role::Read, Method::Get, KEY, show, SHOW)
        .guarded(Role::Operate, Method::Post, DRAIN_PATH, drain, DRAIN)
        .guarded(Role::Operate, Method::Post, SKIP_PATH, skip, SKIP)
}

async fn list(
    State(desks): State<Desks>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let keys = desks.parked.get()?.list(None).await?;
    let keys = keys
        .iter()
        .filter(|key| caller.scope.has(&key.id.projection));
    let keys: Vec<Value> = keys.map(key_to_json).collect();
    Ok(answer(StatusCode::OK, &json!({ "parked": keys })))
}

async fn show(State(desks): State<Desks>, path: KeyPath) -> Result<Response, Problem> {
    let (id, desk) = (id(path)?, desks.parked.get()?);
    let key = desk.find(&id).await?;
    let key = key.ok_or_else(|| Error::NotParked(id.clone()))?;
    let events = desk.events(&id, EVENTS_SHOWN).await?;
    let events: Vec<Value> = events.iter().map(event_to_json).collect();
    let mut body = key_to_json(&key);
    body["first_events"] = events.into();
    Ok(answer(StatusCode::OK, &body))
}

async fn drain(
    State(desks): State<Desks>,
    Extension(caller): Extension<Caller>,
    path: KeyPath,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: DrainBody = if body.is_empty() {
        DrainBody::default()
    } else {
        read(&body)?
    };
    let plugin = body.plugin;
    ask(&desks, &caller, path, Action::Drain { plugin }).await
}

async fn skip(
    State(desks): State<Desks>,
    Extension(caller): Extension<Caller>,
    path: KeyPath,
    body: Bytes,
) -> Result<Response, Problem> {
    let SkipBody { offset, reason } = read(&body)?;
    ask(&desks, &caller, path, Action::Skip { offset, reason }).await
}

async fn ask(
    desks: &Desks,
    caller: &Caller,
    path: KeyPath,
    action: Action,
) -> Result<Response, Problem> {
    let id = id(path)?;
    let (name, detail) = action.told();
    let deed = caller.deed(name, id.to_string(), detail);
    let (desk, by) = (desks.parked.get()?.clone(), Arc::clone(&caller.name));
    let body = json!({ "id": id.to_string(), "requested": true });
    let work = async move {
        let asked = desk.ask(&id, action, &by).await;
        (deed, asked.map_err(Problem::from))
    };
    desks.changes.carry_out(work).await?;
    Ok(answer(StatusCode::ACCEPTED, &body))
}

fn id(path: KeyPath) -> Result<ParkedId, Problem> {
    let Path((projection, topic, partition, offset)) = path.map_err(|_| {
        let detail = "no such path: behind /parked come a projection, a topic, a partition's number \
                      and an offset, as GET /parked has them in \"id\"";
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    Ok(ParkedId {
        projection: projection.into(),
        partition: TopicPartition::new(topic, partition),
        first: Offset(offset),
    })
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NoProjection(_) | Error::NotParked(_) | Error::NoEvent(..) => {
                StatusCode::NOT_FOUND
            }
            _ if error.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
            Error::Store(_) | Error::Unreadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, error.to_string())
    }
}
