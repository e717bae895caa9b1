//! What MongoDB says of itself.

use bson::{Document, doc};
use mongodb::Client;
use serde::Serialize;

/// Operations that a server has carried out since its start, or between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    pub inserts: u64,
    pub updates: u64,
    pub deletes: u64,
    pub queries: u64,
    /// Answers to cursors, beyond their first.
    pub get_mores: u64,
    pub commands: u64,
}

impl Operations {
    /// Asks the server.
    ///
    /// # Errors
    /// The server's.
    pub async fn now(client: &Client) -> anyhow::Result<Self> {
        let admin = client.database("admin");
        let status = admin.run_command(doc! { "serverStatus": 1 }).await?;
        let counters = status.get_document("opcounters")?;
        Ok(Operations {
            inserts: count(counters, "insert"),
            updates: count(counters, "update"),
            deletes: count(counters, "delete"),
            queries: count(counters, "query"),
            get_mores: count(counters, "getmore"),
            commands: count(counters, "command"),
        })
    }

    /// Those since `before`, without what the harness has asked itself: so many queries.
    pub fn since(self, before: Operations, own_queries: u64) -> Operations {
        Operations {
            inserts: self.inserts.saturating_sub(before.inserts),
            updates: self.updates.saturating_sub(before.updates),
            deletes: self.deletes.saturating_sub(before.deletes),
            queries: self.queries.saturating_sub(before.queries + own_queries),
            get_mores: self.get_mores.saturating_sub(before.get_mores),
            commands: self.commands.saturating_sub(before.commands),
        }
    }

    pub fn total(self) -> u64 {
        let writes = self.inserts + self.updates + self.deletes;
        writes + self.queries + self.get_mores + self.commands
    }
}

/// Brings what the contender before has written to disk, so that the next one does not pay for it.
///
/// # Errors
/// The server's.
pub async fn settle(client: &Client) -> anyhow::Result<()> {
    let admin = client.database("admin");
    admin.run_command(doc! { "fsync": 1 }).await?;
    Ok(())
}

/// The server's version, and for how many seconds it keeps old versions of documents, where it
/// tells.
///
/// # Errors
/// The server's.
pub async fn about(client: &Client) -> anyhow::Result<(String, Option<i64>)> {
    const WINDOW: &str = "minSnapshotHistoryWindowInSeconds";
    let admin = client.database("admin");
    let build = admin.run_command(doc! { "buildInfo": 1 }).await?;
    let version = build.get_str("version")?.to_owned();
    // A server of another make may not know it, or not tell everyone.
    let window = admin
        .run_command(doc! { "getParameter": 1, WINDOW: 1 })
        .await;
    let window = window.ok().and_then(|reply| whole(&reply, WINDOW));
    Ok((version, window))
}

fn count(document: &Document, key: &str) -> u64 {
    whole(document, key).map_or(0, |count| u64::try_from(count).unwrap_or(0))
}

fn whole(document: &Document, key: &str) -> Option<i64> {
    let wide = document.get_i64(key).ok();
    wide.or_else(|| document.get_i32(key).ok().map(i64::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_harness_has_asked_is_not_counted() {
        let before = Operations {
            inserts: 5,
            queries: 10,
            ..Operations::default()
        };
        let after = Operations {
            inserts: 8,
            queries: 100,
            commands: 2,
            ..Operations::default()
        };
        let between = after.since(before, 60);
        assert_eq!((between.inserts, between.queries), (3, 30));
        assert_eq!(between.total(), 35);
    }

    #[test]
    fn counters_of_either_width_are_read() {
        let counters = doc! { "a": 1_i32, "b": 2_i64, "c": "3" };
        assert_eq!(["a", "b", "c"].map(|key| count(&counters, key)), [1, 2, 0]);
    }
}
