//! Reading a view from the position on that a reader names, and what is told where that fails.
//!
//! | outcome | status | when |
//! |---|---|---|
//! | `fresh` | that of the answer | everything before the position is in the answer |
//! | `stale` | 412 | it is not yet, and the reader does not wait |
//! | `timed-out` | 504 | it was not within `wait` |
//! | `parked` | 409 | it will not be until somebody acts: an event is parked |
//!
//! The outcome stands in the header `projectionist-freshness`, and in the body where it is a
//! problem. An answer to a request without `after` has no such header.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::View;
use super::ask::{Ask, bad};
use super::copies::{Copy, Route};
use super::parked;
use super::positions::{Position, Waited};
use crate::http::problem::Problem;
use crate::store::{Error, Reader};

/// The position that an answer includes, as a token.
pub(super) const POSITION: HeaderName = HeaderName::from_static("projectionist-position");

/// Whether the answer is as new as the request wants it.
pub(super) const FRESHNESS: HeaderName = HeaderName::from_static("projectionist-freshness");

/// An answer of a copy, or why it has none that is new enough.
pub(super) enum Fresh<T> {
    Answer {
        answer: T,
        /// Known before the answer was read.
        position: Arc<Position>,
    },
    Late {
        position: Arc<Position>,
        /// Offsets that are missing.
        lag: i64,
        waited: Option<Duration>,
    },
    Parked {
        position: Arc<Position>,
        key: String,
    },
}

/// What is read, besides how.
pub(super) struct Want<'a> {
    pub(super) view: &'a View,
    pub(super) ask: &'a Ask,
    /// Of the document; `None` for a list.
    pub(super) id: Option<&'a str>,
    /// The reader's IP address.
    pub(super) client: &'a str,
    /// When the request came.
    pub(super) asked: Instant,
}

/// Refuses a token of topics that the view is not made of: it would be waited for in vain.
pub(super) fn check_token(view: &View, ask: &Ask) -> Result<(), Problem> {
    let Some(token) = &ask.after else {
        return Ok(());
    };
    let of_others = |topic: &str| !view.topics.iter().any(|known| &**known == topic);
    let foreign = token
        .partitions()
        .find(|(partition, _)| of_others(&partition.topic));
    match foreign {
        None => Ok(()),
        Some((partition, _)) => Err(bad(format!(
            "after: view \"{}\" is not made of topic \"{}\", but of {}; leave out what is not of \
             these",
            view.id.name,
            partition.topic,
            view.topics.join(", ")
        ))),
    }
}

/// Reads from a copy, if it is far enough.
pub(super) async fn read<'r, T, F>(
    copy: &'r Copy,
    want: &Want<'_>,
    read: impl FnOnce(&'r dyn Reader) -> F,
) -> Result<Fresh<T>, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let opened = copy.opened()?;
    let Some(token) = &want.ask.after else {
        let position = opened.positions.current();
        let answer = copy.within(read(copy.reader()?)).await?;
        return Ok(Fresh::Answer { answer, position });
    };
    // As a rule this copy is far enough, or the wait is over: see `Copies::read`.
    let wait = want.ask.wait.unwrap_or_default();
    let wait = wait.saturating_sub(want.asked.elapsed());
    let position = match opened.positions.wait(token, wait).await? {
        Waited::Reached(position) => position,
        Waited::Behind(position) => {
            return Ok(Fresh::Late {
                lag: position.lag(token),
                position,
                waited: want.ask.wait,
            });
        }
    };
    // One after the other: what is drained in between is in the answer. No position tells of that,
    // so no cache is asked.
    if let Some(key) = parked::find(copy, want.view, token, want.id).await? {
        return Ok(Fresh::Parked { position, key });
    }
    let answer = copy.within(read(&*opened.reader)).await?;
    Ok(Fresh::Answer { answer, position })
}

impl<'a> Want<'a> {
    /// Which copies may answer, and which of them should.
    pub(super) fn route(&self) -> Route<'a> {
        let wait = self.ask.wait.unwrap_or_default();
        Route {
            key: self.id.unwrap_or(&self.view.id.name),
            client: self.client,
            after: self.ask.after.as_ref().map(|token| (token, wait)),
            stay: None,
            is_quick: self.id.is_some(),
        }
    }
}

impl<T> Fresh<T> {
    /// The answer with its position, or the problem that tells the outcome.
    pub(super) fn or_problem(self, want: &Want<'_>) -> Result<(T, Arc<Position>), Problem> {
        let (position, problem) = match self {
            Fresh::Answer { answer, position } => return Ok((answer, position)),
            Fresh::Late {
                position,
                lag,
                waited,
            } => (position, late(want, lag, waited)),
            Fresh::Parked { position, key } => (position, held_back(want, &key)),
        };
        Err(match position.token() {
            Some(token) => problem.with_value(POSITION, token.clone()),
            None => problem,
        })
    }
}

fn late(want: &Want<'_>, lag: i64, waited: Option<Duration>) -> Problem {
    let view = &want.view.id.name;
    let problem = match waited {
        None => outcome(
            StatusCode::PRECONDITION_FAILED,
            "stale",
            format!(
                "view \"{view}\" lacks {lag} offsets of the position in \"after\"; ask again, wait \
                 for it with wait=2s, or leave \"after\" out to have what there is"
            ),
        ),
        Some(waited) => outcome(
            StatusCode::GATEWAY_TIMEOUT,
            "timed-out",
            format!(
                "view \"{view}\" still lacked {lag} offsets of the position in \"after\" after {}; \
                 ask again, or leave \"after\" out to have what there is",
                humantime::format_duration(waited)
            ),
        ),
    };
    problem.member("lag", lag).with(header::RETRY_AFTER, "1")
}

fn held_back(want: &Want<'_>, key: &str) -> Problem {
    let detail = format!(
        "an event at or before the position in \"after\" is parked, so view \"{}\" lacks it until \
         it is drained or skipped (projectionist parked show {key}); leave \"after\" out to have \
         what there is",
        want.view.id.name
    );
    outcome(StatusCode::CONFLICT, "parked", detail).member("parked", key)
}

fn outcome(status: StatusCode, outcome: &'static str, detail: String) -> Problem {
    Problem::new(status, detail)
        .member("outcome", outcome)
        .with(FRESHNESS, outcome)
}

/// The headers that tell how new an answer is.
pub(super) fn tell(headers: &mut HeaderMap, position: &Position, ask: &Ask) {
    if let Some(token) = position.token() {
        headers.insert(POSITION, token.clone());
    }
    if ask.after.is_some() {
        headers.insert(FRESHNESS, HeaderValue::from_static("fresh"));
    }
}
