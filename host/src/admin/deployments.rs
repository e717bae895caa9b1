//! Which plugin each projection runs, over HTTP.
//!
//! - `GET /projections/{name}/revisions`: what it runs and ran, newest first, and what was found out
//!   about the candidate, where there is one.
//! - `POST /projections/{name}/activate`, `{"plugin": HASH, "reason": TEXT}`: run another plugin.
//! - `POST /projections/{name}/shadow`, the same, or with `null` for none: try one beside it.
//! - `POST /projections/{name}/rollback`, `{"reason": TEXT}`: go back to the one before.
//!
//! Each answers with the revision that it has made, and is kept in the log of changes. The start of a
//! hash is enough.

use std::sync::{Arc, OnceLock};

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::Desks;
use super::access::{Caller, Role};
use super::api::{About, Answer, Api, Body, Method};
use super::plugins::status_of;
use super::problem::{Problem, answer};
use super::read;
use crate::changes::Deed;
use crate::deployment::desk::{Desk, Error};
use crate::deployment::{self, Grounds, Revision};

/// The way to all projections' deployments, as soon as the stores are open.
#[derive(Clone, Default)]
pub struct DeploymentDesk(Arc<OnceLock<Arc<Desk>>>);

/// Older ones are not shown.
const REVISIONS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    /// To leave it out is not to say none.
    #[serde(deserialize_with = "Option::deserialize")]
    plugin: Option<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Return {
    #[serde(default)]
    reason: String,
}

impl DeploymentDesk {
    /// To be called once.
    pub fn open(&self, desk: Desk) {
        self.0.get_or_init(|| Arc::new(desk));
    }

    pub(super) fn desk(&self) -> Result<Arc<Desk>, Problem> {
        self.0.get().cloned().ok_or_else(Problem::starting)
    }
}

const REVISIONS: About = About {
    summary: "What a projection runs and ran, newest first, and what its candidate came to",
    query: &[],
    body: Body::None,
    answers: &[(StatusCode::OK, Answer::Json("Revisions"))],
    refusals: &[StatusCode::NOT_FOUND],
};

const ACTIVATE: About = About {
    summary: "Run another plugin",
    body: Body::Json("Activate"),
    answers: &[(StatusCode::OK, Answer::Json("Revision"))],
    refusals: &[
        StatusCode::BAD_REQUEST,
        StatusCode::NOT_FOUND,
        StatusCode::CONFLICT,
        StatusCode::UNPROCESSABLE_ENTITY,
    ],
    ..REVISIONS
};

const SHADOW: About = About {
    summary: "Try a plugin beside the one that runs, or none any more",
    body: Body::Json("Shadow"),
    ..ACTIVATE
};

const ROLL_BACK: About = About {
    summary: "Go back to the plugin before",
    body: Body::JsonOrNothing("Rollback"),
    ..ACTIVATE
};

pub(super) fn routes(api: Api) -> Api {
    let api = api.guarded(
        Role::Read,
        Method::Get,
        "/projections/{name}/revisions",
        revisions,
        REVISIONS,
    );
    let deploy = (Role::Deploy, Method::Post);
    api.guarded(
        deploy.0,
        deploy.1,
        "/projections/{name}/activate",
        activate,
        ACTIVATE,
    )
    .guarded(
        deploy.0,
        deploy.1,
        "/projections/{name}/shadow",
        shadow,
        SHADOW,
    )
    .guarded(
        deploy.0,
        deploy.1,
        "/projections/{name}/rollback",
        roll_back,
        ROLL_BACK,
    )
}

async fn revisions(
    State(desks): State<Desks>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let status = desks
        .deployments
        .desk()?
        .status(&name, REVISIONS_MAX)
        .await?;
    let body = json!({ "revisions": status.revisions, "report": status.report });
    Ok(answer(StatusCode::OK, &body))
}

async fn activate(
    State(desks): State<Desks>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let Choice { plugin, reason } = read(&body)?;
    let Some(plugin) = plugin else {
        let detail = "\"plugin\" is missing; give the hash of an uploaded plugin, or its start";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    };
    let deed = caller.deed("activate", name.clone(), told(&plugin, &reason));
    let grounds = grounds(&caller, reason);
    let work = |desk: Arc<Desk>| async move { desk.activate(&name, &plugin, &grounds).await };
    decide(&desks, deed, work).await
}

async fn shadow(
    State(desks): State<Desks>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let Choice { plugin, reason } = read(&body)?;
    let detail = told(plugin.as_deref().unwrap_or("none"), &reason);
    let deed = caller.deed("shadow", name.clone(), detail);
    let grounds = grounds(&caller, reason);
    let work =
        |desk: Arc<Desk>| async move { desk.shadow(&name, plugin.as_deref(), &grounds).await };
    decide(&desks, deed, work).await
}

async fn roll_back(
    State(desks): State<Desks>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let Return { reason } = if body.is_empty() {
        Return::default()
    } else {
        read(&body)?
    };
    let deed = caller.deed("rollback", name.clone(), reason.clone());
    let grounds = grounds(&caller, reason);
    let work = |desk: Arc<Desk>| async move { desk.roll_back(&name, &grounds).await };
    decide(&desks, deed, work).await
}

/// Carries a decision about a projection out, records it, and answers with the revision made.
async fn decide<F>(
    desks: &Desks,
    deed: Deed,
    work: impl FnOnce(Arc<Desk>) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Revision, Error>> + Send + 'static,
{
    let work = work(desks.deployments.desk()?);
    let recorded = async move { (deed, work.await.map_err(Problem::from)) };
    Ok(made_json(&desks.changes.carry_out(recorded).await?))
}

/// What is kept of a choice.
fn told(plugin: &str, reason: &str) -> String {
    if reason.is_empty() {
        format!("plugin {plugin}")
    } else {
        format!("plugin {plugin}: {reason}")
    }
}

fn grounds(caller: &Caller, reason: String) -> Grounds {
    Grounds {
        by: caller.name.to_string(),
        reason,
    }
}

fn made_json(made: &Revision) -> Response {
    let body = serde_json::to_value(made).expect("plain data serializes");
    answer(StatusCode::OK, &body)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Registry(error) => status_of(error),
            Error::NoProjection(_) => StatusCode::NOT_FOUND,
            Error::NoShadow(_) | Error::InUse { .. } => StatusCode::CONFLICT,
            Error::Unfit { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Unchecked { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Error::Deployment(error) => match error {
                deployment::Error::NothingBefore(_)
                | deployment::Error::Active { .. }
                | deployment::Error::NoCandidate(_)
                | deployment::Error::Superseded(_)
                | deployment::Error::NeverStarted(_)
                | deployment::Error::Race(_) => StatusCode::CONFLICT,
                deployment::Error::Store(_) if error.is_unavailable() => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                deployment::Error::Store(_) | deployment::Error::Unreadable { .. } => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            },
        };
        Problem::new(status, error.to_string())
    }
}
