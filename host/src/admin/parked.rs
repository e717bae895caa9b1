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

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::parked::Action;
use crate::parked::desk::{Desk, Error, ParkedId};
use crate::parked::json::{event_to_json, key_to_json};
use crate::record::{Offset, TopicPartition};

/// The desk, as soon as the stores are open.
#[derive(Clone, Default)]
pub struct ParkedDesk(Arc<OnceLock<Desk>>);

/// Why a request was not answered.
enum Refused {
    /// The stores are not open yet.
    Starting,
    BadBody(serde_json::Error),
    Desk(Error),
}

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

type KeyPath = Path<(String, String, i32, i64)>;

/// Events that are shown of one key.
const EVENTS_SHOWN: usize = 100;

const BY: &str = "the admin API";

impl ParkedDesk {
    /// To be called once.
    pub fn open(&self, desk: Desk) {
        self.0.get_or_init(|| desk);
    }

    fn get(&self) -> Result<&Desk, Refused> {
        self.0.get().ok_or(Refused::Starting)
    }
}

pub(super) fn routes(desk: ParkedDesk) -> Router {
    const KEY: &str = "/parked/{projection}/{topic}/{partition}/{offset}";
    Router::new()
        .route("/parked", get(list))
        .route(KEY, get(show))
        .route(&format!("{KEY}/drain"), post(drain))
        .route(&format!("{KEY}/skip"), post(skip))
        .with_state(desk)
}

async fn list(State(desk): State<ParkedDesk>) -> Result<Response, Refused> {
    let keys = desk.get()?.list(None).await?;
    let keys: Vec<Value> = keys.iter().map(key_to_json).collect();
    Ok(answer(StatusCode::OK, &json!({ "parked": keys })))
}

async fn show(State(desk): State<ParkedDesk>, path: KeyPath) -> Result<Response, Refused> {
    let (id, desk) = (id(path), desk.get()?);
    let key = desk.find(&id).await?;
    let key = key.ok_or_else(|| Error::NotParked(id.clone()))?;
    let events = desk.events(&id, EVENTS_SHOWN).await?;
    let events: Vec<Value> = events.iter().map(event_to_json).collect();
    let mut body = key_to_json(&key);
    body["first_events"] = events.into();
    Ok(answer(StatusCode::OK, &body))
}

async fn drain(
    State(desk): State<ParkedDesk>,
    path: KeyPath,
    body: Bytes,
) -> Result<Response, Refused> {
    let body: DrainBody = if body.is_empty() {
        DrainBody::default()
    } else {
        read(&body)?
    };
    let plugin = body.plugin;
    ask(&desk, path, Action::Drain { plugin }).await
}

async fn skip(
    State(desk): State<ParkedDesk>,
    path: KeyPath,
    body: Bytes,
) -> Result<Response, Refused> {
    let SkipBody { offset, reason } = read(&body)?;
    ask(&desk, path, Action::Skip { offset, reason }).await
}

async fn ask(desk: &ParkedDesk, path: KeyPath, action: Action) -> Result<Response, Refused> {
    let id = id(path);
    desk.get()?.ask(&id, action, BY).await?;
    let body = json!({ "id": id.to_string(), "requested": true });
    Ok(answer(StatusCode::ACCEPTED, &body))
}

fn id(Path((projection, topic, partition, offset)): KeyPath) -> ParkedId {
    ParkedId {
        projection: projection.into(),
        partition: TopicPartition::new(topic, partition),
        first: Offset(offset),
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(Refused::BadBody)
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (status, content_type, format!("{body:#}\n")).into_response()
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::Desk(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Refused::Starting => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the host is starting, and its stores are not open yet".to_owned(),
            ),
            Refused::BadBody(error) => (
                StatusCode::BAD_REQUEST,
                format!("the request's body is not as it should be: {error}"),
            ),
            Refused::Desk(error) => {
                let status = match &error {
                    Error::NoProjection(_) | Error::NotParked(_) | Error::NoEvent(..) => {
                        StatusCode::NOT_FOUND
                    }
                    _ if error.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
                    Error::Store(_) | Error::Unreadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
                };
                (status, error.to_string())
            }
        };
        answer(status, &json!({ "error": message }))
    }
}
