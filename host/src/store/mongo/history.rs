//! How long the server keeps the versions of documents that nobody reads any more.
//!
//! Under a backlog over few documents that is what a host's speed depends on: each commit adds a
//! version of each, and the server walks past all that it keeps. Measured, with 20,000 documents:
//! 65,000 events a second fall to 32,000 within a minute where versions are kept for 300 s, and
//! stay at 102,000 where they are not kept.
//!
//! Not here: changing it. It is the whole server's, and others may read at a time of the past.

use bson::doc;

use super::MongoStore;
use super::error::Failure;

const PARAMETER: &str = "minSnapshotHistoryWindowInSeconds";

/// With so few seconds a backlog is slowed down a little at most.
const SECONDS_FEW: i64 = 5;

impl MongoStore {
    /// What the primary is set to; `None` where it does not say so, which the log tells at level
    /// debug. It takes the privilege `getParameter`, and a router does not know it.
    pub(super) async fn history_seconds(&self) -> Option<i64> {
        let question = doc! { "getParameter": 1, PARAMETER: 1 };
        let answered = self.ask(|database| async move {
            let admin = database.client().database("admin");
            admin.run_command(question).await
        });
        let answered = answered.await;
        let seconds = answered.and_then(|answer| {
            let number = answer.get(PARAMETER).and_then(|value| match value {
                bson::Bson::Int32(seconds) => Some(i64::from(*seconds)),
                bson::Bson::Int64(seconds) => Some(*seconds),
                _ => None,
            });
            number.ok_or(Failure::Reply("it names no number of seconds"))
        });
        seconds
            .inspect_err(|failure| {
                tracing::debug!(
                    store = self.shared.address,
                    "the server does not tell {PARAMETER}: {failure}"
                );
            })
            .ok()
    }
}

/// For whoever runs the server.
pub(super) fn advice(seconds: i64) -> String {
    if seconds <= SECONDS_FEW {
        return format!("keeps versions of documents for {seconds} s ({PARAMETER})");
    }
    format!(
        "keeps versions of documents for {seconds} s ({PARAMETER}), which slows a backlog over few \
         documents down; if it serves read models only, set it to 0 on each member, see \
         docs/guide/operations.md#mongodb"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_where_versions_are_kept_for_long() {
        let cases = [(0, false), (5, false), (6, true), (300, true)];
        for (seconds, advised) in cases {
            let text = advice(seconds);
            assert!(text.contains(&format!("for {seconds} s")), "{text}");
            assert_eq!(text.contains("set it to 0"), advised, "{text}");
        }
    }
}
