//! The log of changes over HTTP, and the way that every change goes.
//!
//! - `GET /changes`: the newest, `?limit=` of them (100, at most 1,000); with `?older-than=ID`, those
//!   that come after the one with this id.
//!
//! Guarantee: a change that has begun is carried out and recorded, also where the one who asked
//! has gone away meanwhile.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::Desks;
use super::access::{Caller, Role, Scope};
use super::api::{About, Answer, Api, Body, Method};
use super::problem::{Problem, answer};
use super::query::Query;
use crate::changes::{Change, Changes, Deed, Error, Outcome};

/// The log, as soon as the stores are open.
#[derive(Clone, Default)]
pub struct ChangeDesk {
    changes: Arc<OnceLock<Changes>>,
    under_way: TaskTracker,
}

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;

impl ChangeDesk {
    /// To be called once.
    pub fn open(&self, changes: Changes) {
        self.changes.get_or_init(|| changes);
    }

    /// Waits until the changes that have begun are recorded. None may begin any more.
    pub async fn close(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// Carries a change out and records it. `work` answers what was asked for, as far as it has
    /// found out, and what the one who asked is told.
    pub(super) async fn carry_out<T: Send + 'static>(
        &self,
        work: impl Future<Output = (Deed, Result<T, Problem>)> + Send + 'static,
    ) -> Result<T, Problem> {
        let changes = self.get()?.clone();
        let task = self.under_way.spawn(async move {
            let (deed, result) = work.await;
            let outcome = match &result {
                Ok(_) => Outcome::Done,
                Err(problem) => problem.outcome(),
            };
            changes.record(deed, outcome).await;
            result
        });
        task.await.unwrap_or_else(|error| {
            let detail = format!("the host has failed at this: {error}");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
        })
    }

    fn get(&self) -> Result<&Changes, Problem> {
        self.changes.get().ok_or_else(Problem::starting)
    }
}

impl Caller {
    /// What this caller asks for; see [`Deed`].
    pub(super) fn deed(&self, action: &str, subject: String, detail: String) -> Deed {
        Deed {
            by: self.name.to_string(),
            from: self.address.to_string(),
            action: action.to_owned(),
            subject,
            detail,
        }
    }
}

impl Caller {
    /// Those of the token's projections, and its own.
    fn may_see(&self, change: &Change) -> bool {
        let Deed { by, subject, .. } = &change.deed;
        // A parked key's name starts with its projection.
        let of = subject.split('/').next().unwrap_or(subject);
        self.scope.has(of) || **by == *self.name
    }
}

impl Problem {
    fn outcome(&self) -> Outcome {
        let reason = self.detail().to_owned();
        if self.status().is_server_error() {
            Outcome::Failed { reason }
        } else {
            Outcome::Refused { reason }
        }
    }
}

const LIST: About = About {
    summary: "Who has changed what, the newest first",
    query: &[
        ("limit", "how many: 100, at most 1000"),
        ("older-than", "the id of a change; those behind it"),
    ],
    body: Body::None,
    answers: &[(StatusCode::OK, Answer::Json("Changes"))],
    refusals: &[StatusCode::BAD_REQUEST],
};

pub(super) fn routes(api: Api) -> Api {
    api.guarded(Role::Read, Method::Get, "/changes", list, LIST)
}

/// Changes that are read to find those that a limited token may see.
const LOOKED_AT_MAX: usize = 10_000;

async fn list(
    State(desks): State<Desks>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["limit", "older-than"])?;
    let limit = query.count("limit", LIMIT, LIMIT_MAX)?;
    let changes = desks.changes.get()?;
    let mut shown: Vec<Change> = Vec::new();
    let mut older_than = query.text("older-than").map(str::to_owned);
    for _ in 0..LOOKED_AT_MAX / LIMIT_MAX {
        let page = match caller.scope {
            Scope::All => limit,
            Scope::These(_) => LIMIT_MAX,
        };
        let found = changes.list(older_than.as_deref(), page).await?;
        let is_last = found.len() < page;
        older_than = found.last().map(|change| change.id.clone());
        shown.extend(found.into_iter().filter(|change| caller.may_see(change)));
        if is_last || shown.len() >= limit {
            break;
        }
    }
    shown.truncate(limit);
    let changes = shown;
    Ok(answer(StatusCode::OK, &json!({ "changes": changes })))
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = if error.is_unavailable() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Problem::new(status, error.to_string())
    }
}
