//! Uploaded plugins over HTTP.
//!
//! - `PUT /plugins`: upload one; the body is the file as it is. 201 and what is known of it; 200
//!   where it was there already; 422 where it is no plugin that this host takes.
//! - `GET /plugins`: all of them.
//! - `GET /plugins/{hash}`: one, by its hash or by the start of it.
//! - `DELETE /plugins/{hash}`: removes one that nothing runs, tries or would return to; 409 where
//!   something does.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::Desks;
use super::access::{Caller, Role, Scope};
use super::api::{self, About, Answer, Api, Method};
use super::problem::{Problem, answer};
use crate::registry::upload::{Refused, Uploads};
use crate::registry::{Error, Registry, Saved, Uploaded};

/// The registry and the way into it, as soon as the stores are open.
#[derive(Clone, Default)]
pub struct PluginDesk(Arc<OnceLock<Arc<Uploads>>>);

/// How long a body may take to arrive: meanwhile it holds one of a few places.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

impl PluginDesk {
    /// To be called once.
    pub fn open(&self, uploads: Uploads) {
        self.0.get_or_init(|| Arc::new(uploads));
    }

    fn uploads(&self) -> Result<&Arc<Uploads>, Problem> {
        self.0.get().ok_or_else(Problem::starting)
    }

    fn registry(&self) -> Result<&Registry, Problem> {
        Ok(self.uploads()?.registry())
    }
}

const LIST: About = About {
    summary: "The plugins that are uploaded",
    query: &[],
    body: api::Body::None,
    answers: &[(StatusCode::OK, Answer::Json("Plugins"))],
    refusals: &[],
};

const UPLOAD: About = About {
    summary: "Upload a plugin: the file as it is",
    body: api::Body::File,
    answers: &[
        (StatusCode::CREATED, Answer::Json("Plugin")),
        (StatusCode::OK, Answer::Json("Plugin")),
    ],
    refusals: &[
        StatusCode::BAD_REQUEST,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::CONFLICT,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::UNPROCESSABLE_ENTITY,
    ],
    ..LIST
};

const SHOW: About = About {
    summary: "A plugin, by its hash or by the start of it",
    answers: &[(StatusCode::OK, Answer::Json("Plugin"))],
    refusals: &[
        StatusCode::BAD_REQUEST,
        StatusCode::NOT_FOUND,
        StatusCode::CONFLICT,
    ],
    ..LIST
};

const REMOVE: About = About {
    summary: "Remove a plugin that nothing runs, tries or would return to by a rollback",
    ..SHOW
};

pub(super) fn routes(api: Api) -> Api {
    const ONE: &str = "/plugins/{hash}";
    api.guarded(Role::Read, Method::Get, "/plugins", list, LIST)
        .guarded(Role::Deploy, Method::Put, "/plugins", upload, UPLOAD)
        .guarded(Role::Read, Method::Get, ONE, show, SHOW)
        .guarded(Role::Deploy, Method::Delete, ONE, remove, REMOVE)
}

async fn list(State(desks): State<Desks>) -> Result<Response, Problem> {
    let plugins = desks.plugins.registry()?.list().await?;
    Ok(answer(StatusCode::OK, &json!({ "plugins": plugins })))
}

async fn show(State(desks): State<Desks>, Path(hash): Path<String>) -> Result<Response, Problem> {
    let plugin = desks.plugins.registry()?.find(&hash).await?;
    Ok(answer(StatusCode::OK, &to_json(&plugin)))
}

async fn upload(
    State(desks): State<Desks>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let uploads = desks.plugins.uploads()?;
    let place = uploads.place(&caller.client.to_string()).await?;
    // Read only now: so many bodies are in memory as there are places.
    let read = to_bytes(body, uploads.bytes_max());
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(unread(&error, uploads.bytes_max())),
        Err(_) => {
            let limit = BODY_TIMEOUT.as_secs();
            let detail = format!("the file has not arrived within {limit} s; send it again");
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
        }
    };
    let uploads = Arc::clone(uploads);
    let save = async move {
        let size = bytes.len();
        let saved = uploads.save(place, bytes, &caller.name).await;
        let (subject, detail) = match &saved {
            Ok(saved) => describe(saved),
            Err(_) => (format!("a file of {size} bytes"), String::new()),
        };
        let deed = caller.deed("upload", subject, detail);
        (deed, saved.map_err(Problem::from))
    };
    let saved = desks.changes.carry_out(save).await?;
    let status = if saved.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(answer(status, &to_json(&saved.plugin)))
}

async fn remove(
    State(desks): State<Desks>,
    Extension(caller): Extension<Caller>,
    Path(hash): Path<String>,
) -> Result<Response, Problem> {
    let desk = desks.deployments.desk()?;
    let work = async move {
        let mut deed = caller.deed("remove", hash.clone(), String::new());
        let removed = async {
            let plugin = desk.find(&hash).await?;
            let about = &plugin.about;
            deed.subject.clone_from(&about.sha256);
            deed.detail = format!("{} {} {}", about.kind, about.name, about.version);
            if caller.scope != Scope::All && *plugin.uploaded_by != *caller.name {
                let detail = "a token that is limited to projections removes its own uploads only";
                return Err(Problem::new(StatusCode::FORBIDDEN, detail));
            }
            desk.remove(&plugin).await?;
            Ok(plugin)
        };
        let removed = removed.await;
        (deed, removed)
    };
    let removed = desks.changes.carry_out(work).await?;
    Ok(answer(StatusCode::OK, &to_json(&removed)))
}

/// The hash of an uploaded plugin, and what else is worth to be kept.
fn describe(saved: &Saved) -> (String, String) {
    let about = &saved.plugin.about;
    let known = if saved.is_new {
        ""
    } else {
        ", which was there already"
    };
    let detail = format!("{} {} {}{known}", about.kind, about.name, about.version);
    (about.sha256.clone(), detail)
}

fn to_json(plugin: &Uploaded) -> serde_json::Value {
    serde_json::to_value(plugin).expect("plain data serializes")
}

fn unread(error: &axum::Error, bytes_max: usize) -> Problem {
    let source = std::error::Error::source(error);
    if source.is_some_and(|source| source.to_string().contains("length limit exceeded")) {
        let detail = format!(
            "the file has more than {bytes_max} bytes, the most that this host takes; build it \
             without debug information (strip = true)"
        );
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail);
    }
    let detail = format!("the file has not arrived as a whole: {error}");
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        match refused {
            Refused::Busy | Refused::BusyOwn => {
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
                problem.with(header::RETRY_AFTER, "5")
            }
            Refused::Full(_) | Refused::FullOwn(_) => Problem::new(StatusCode::CONFLICT, detail),
            Refused::Plugin(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            Refused::Host(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
            Refused::Registry(error) => error.into(),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Problem::new(status_of(&error), error.to_string())
    }
}

pub(super) fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::BadHash(_) => StatusCode::BAD_REQUEST,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Ambiguous { .. } => StatusCode::CONFLICT,
        _ if error.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
        Error::Store(_) | Error::Unreadable { .. } | Error::Damaged(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}
