//! One run: one contender, one topic, one database.

mod steady;

use std::time::{Duration, Instant};

use bson::raw::RawDocumentBuf;
use mongodb::{Client, Collection};
use serde::Serialize;

use crate::contender::{Contender, Running, Setup, Task};
use crate::expected::Expected;
use crate::observe::check::check;
use crate::observe::markers::{Rates, Until, Watch};
use crate::observe::process::{Usage, usage};
use crate::observe::server::{Operations, settle};
use crate::statistics::Percentiles;
use crate::topic::Filled;
use crate::workload::Plan;

/// A sink whose markers are visible may still be busy with the rest of its last batch.
const CHECK_PATIENCE: Duration = Duration::from_secs(20);

const CHECK_PAUSE: Duration = Duration::from_millis(500);

/// What came out of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub contender: Contender,
    pub round: u32,
    pub events: u64,
    /// What is wrong with the documents, or why there are none. Then there are no figures.
    pub wrong: Option<String>,
    pub figures: Option<Figures>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// From the start of the process to its first visible document.
    pub start_seconds: f64,
    /// CPU time of that, all threads.
    pub start_cpu_seconds: f64,
    /// From the first visible document to the last.
    pub seconds: f64,
    /// `None` in steady mode, and where all became visible at once.
    pub rates: Option<Rates>,
    /// From the first visible document to the last. What was visible at the first look is not
    /// counted, here and below.
    pub cpu_seconds_per_million_events: f64,
    pub peak_memory_bytes: u64,
    /// Of MongoDB.
    pub operations: Operations,
    pub operations_per_event: f64,
    /// From produced to visible, in milliseconds; in steady mode only.
    pub latency_ms: Option<Percentiles>,
}

/// Everything that the runs of one case have in common.
pub struct Stage<'s> {
    pub setup: &'s Setup,
    pub client: &'s Client,
    pub plan: &'s Plan,
}

/// When something was looked at, and what was seen.
struct Look {
    at: Instant,
    usage: Usage,
    operations: Operations,
    own_queries: u64,
}

impl Stage<'_> {
    /// Lets a contender go through a topic that holds all events of the plan already.
    ///
    /// # Errors
    /// Those that are not the contender's own.
    pub async fn flood(
        &self,
        contender: Contender,
        task: &Task,
        filled: &Filled,
        expected: &dyn Expected,
        progress: impl Fn(f64),
    ) -> anyhow::Result<Result<Figures, String>> {
        let collection = self.fresh(contender, task).await?;
        let mut running = contender.start(self.setup, task)?;
        let mut watch = Watch::new(collection.clone(), &filled.markers);
        let watched = self.through(&mut running, &mut watch, &progress).await;
        let (first, last) = match watched {
            Ok(looks) => looks,
            Err(error) => {
                let log = running.last_lines();
                return Ok(Err(format!("{error:#}\n{log}")));
            }
        };
        let counted = filled.events as f64 * watch.share_since_first();
        let mut figures = figures(&running, counted, &first, &last);
        figures.rates = watch.rates(filled.events);
        let verdict = self.verdict(contender, &collection, expected).await?;
        running.end().await?;
        self.drop_database(task).await?;
        Ok(verdict.map(|()| figures))
    }

    /// The collection of the documents to come, in an empty database, on a server that has nothing
    /// left to do for the run before.
    async fn fresh(
        &self,
        contender: Contender,
        task: &Task,
    ) -> anyhow::Result<Collection<RawDocumentBuf>> {
        self.drop_database(task).await?;
        settle(self.client).await?;
        let database = self.client.database(&task.name);
        Ok(database.collection(&contender.collection(task.workload)))
    }

    async fn drop_database(&self, task: &Task) -> anyhow::Result<()> {
        Ok(self.client.database(&task.name).drop().await?)
    }

    async fn through(
        &self,
        running: &mut Running,
        watch: &mut Watch,
        progress: &impl Fn(f64),
    ) -> anyhow::Result<(Look, Look)> {
        let mut alive = |share| {
            progress(share);
            running.alive()
        };
        let at = watch.wait(Until::First, &mut alive).await?;
        let first = self.look(at, running, watch.queries).await?;
        let mut alive = |share| {
            progress(share);
            running.alive()
        };
        let at = match watch.is_complete() {
            true => at,
            false => watch.wait(Until::All, &mut alive).await?,
        };
        let last = self.look(at, running, watch.queries).await?;
        Ok((first, last))
    }

    async fn look(&self, at: Instant, running: &Running, own_queries: u64) -> anyhow::Result<Look> {
        Ok(Look {
            at,
            usage: usage(running.process_id())?,
            operations: Operations::now(self.client).await?,
            own_queries,
        })
    }

    /// Compares the documents with the expected ones, for some time where they differ.
    async fn verdict(
        &self,
        contender: Contender,
        collection: &Collection<RawDocumentBuf>,
        expected: &dyn Expected,
    ) -> anyhow::Result<Result<(), String>> {
        let since = Instant::now();
        loop {
            let verdict = check(collection, expected, contender.fields()).await?;
            if verdict.is_ok() || since.elapsed() > CHECK_PATIENCE {
                return Ok(verdict);
            }
            tokio::time::sleep(CHECK_PAUSE).await;
        }
    }
}

/// The figures of a run that took `counted` events between two looks.
fn figures(running: &Running, counted: f64, first: &Look, last: &Look) -> Figures {
    let cpu = last.usage.cpu.saturating_sub(first.usage.cpu).as_secs_f64();
    let own_queries = last.own_queries - first.own_queries;
    let operations = last.operations.since(first.operations, own_queries);
    Figures {
        start_seconds: (first.at - running.started).as_secs_f64(),
        start_cpu_seconds: first.usage.cpu.as_secs_f64(),
        seconds: (last.at - first.at).as_secs_f64(),
        rates: None,
        cpu_seconds_per_million_events: cpu / counted * 1e6,
        peak_memory_bytes: last.usage.peak_memory_bytes,
        operations,
        operations_per_event: operations.total() as f64 / counted,
        latency_ms: None,
    }
}
