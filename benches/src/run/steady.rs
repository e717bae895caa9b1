//! Steady mode: events come while the contender runs, so many a second.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bson::raw::RawDocumentBuf;
use mongodb::Collection;
use tokio::sync::mpsc;

use super::{Figures, Stage, figures};
use crate::contender::{Contender, Running, Task};
use crate::expected::{Clock, expected};
use crate::observe::latency::{Latencies, Produced};
use crate::observe::markers::{Until, Watch};
use crate::statistics::Percentiles;
use crate::thread::on_thread;
use crate::topic::{Feed, Filled, Topic, now_us};
use crate::workload::Subject;

/// Events that are produced and not yet noted by the one who waits for them.
const PRODUCED_MAX: usize = 10_000;

impl Stage<'_> {
    /// Lets a contender take events as they come, so many a second.
    ///
    /// # Errors
    /// Those that are not the contender's own.
    pub async fn steady(
        &self,
        contender: Contender,
        task: &Task,
        rate: f64,
        progress: impl Fn(f64),
    ) -> anyhow::Result<Result<(u64, Figures), String>> {
        let collection = self.fresh(contender, task).await?;
        let topic = Topic::create(&self.setup.kafka, &task.topic, task.partitions).await?;
        let mut running = contender.start(self.setup, task)?;
        let ran = self.at_rate(&mut running, &collection, &topic, rate, &progress);
        let ended = match ran.await {
            Ok((filled, clock, figures)) => {
                let expected = expected(self.plan, Clock::Recorded(clock));
                let verdict = self.verdict(contender, &collection, &*expected).await?;
                verdict.map(|()| (filled.events, figures))
            }
            Err(error) => Err(format!("{error:#}\n{}", running.last_lines())),
        };
        running.end().await?;
        topic.delete().await?;
        self.drop_database(task).await?;
        Ok(ended)
    }

    /// Returns what the topic holds, when each event was produced, and the figures.
    async fn at_rate(
        &self,
        running: &mut Running,
        collection: &Collection<RawDocumentBuf>,
        topic: &Topic,
        rate: f64,
        progress: &impl Fn(f64),
    ) -> anyhow::Result<(Filled, Vec<u64>, Figures)> {
        let mut feed = topic.feed(self.plan)?;
        let mut clock = Vec::new();
        // The first marker of each partition: once they are visible, the contender has started.
        for _ in 0..self.plan.partitions {
            let event = feed.next_event().context("each partition has a marker")?;
            let at_us = now_us();
            clock.push(at_us);
            feed.send(&event, at_us)?;
        }
        let ones = vec![1; self.plan.partitions as usize];
        let mut started = Watch::new(collection.clone(), &ones);
        let ready = started.wait(Until::All, |_| running.alive()).await?;
        let latencies = Latencies::open(collection).await?;
        let first = self.look(Instant::now(), running, 0).await?;

        let (sender, receiver) = mpsc::channel(PRODUCED_MAX);
        let pace = Pace { rate, sender };
        let producing = on_thread(move || pace.produce(feed, clock));
        let total = self.plan.events as f64;
        let following = latencies.follow(receiver, |visible| progress(visible as f64 / total));
        // Neither goes on alone: without its follower, the producer fails.
        let ((filled, clock), latencies_us) = tokio::try_join!(producing, following)?;
        let last = self.look(Instant::now(), running, 0).await?;
        // The last markers are visible soon, too, and belong to what is checked.
        let mut rest = Watch::new(collection.clone(), &filled.markers);
        rest.wait(Until::All, |_| running.alive()).await?;
        let mut figures = figures(running, latencies_us.len() as f64, &first, &last);
        figures.start_seconds = (ready - running.started).as_secs_f64();
        figures.latency_ms = Percentiles::of(latencies_us);
        Ok((filled, clock, figures))
    }
}

/// When events are due, and who is told of them.
struct Pace {
    /// Events a second.
    rate: f64,
    sender: mpsc::Sender<Produced>,
}

impl Pace {
    /// Produces the rest of a plan, each event when it is due, and notes when that was.
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread of its own, and the time is what is waited for"
    )]
    fn produce(self, mut feed: Feed, mut clock: Vec<u64>) -> anyhow::Result<(Filled, Vec<u64>)> {
        let (begun, before) = (Instant::now(), clock.len());
        while let Some(event) = feed.next_event() {
            let sent = clock.len() - before;
            let due = Duration::from_secs_f64(sent as f64 / self.rate);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let at_us = now_us();
            clock.push(at_us);
            // Markers are for whoever checks; nobody waits for one.
            if !matches!(event.subject, Subject::Marker(_)) {
                let (key, n) = (event.key.clone(), event.n);
                let told = self.sender.blocking_send(Produced { key, n, at_us });
                told.context("nobody follows the documents any more")?;
            }
            feed.send(&event, at_us)?;
        }
        Ok((feed.finish(clock.len() as u64)?, clock))
    }
}
