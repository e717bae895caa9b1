//! Lets the faults of a schedule happen, each when it is due.
//!
//! A fault is due when so many events are handed to the producer, and the one before it on its
//! track is over. All faults of a schedule happen, at the latest after the last event.

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Services;
use super::fleet::Fleet;
use super::producer::Progress;
use super::recovery::Mark;
use super::schedule::{BrokerFault, Fault, Kind, Planned, StoreFault};
use crate::broker::Broker;
use crate::replica_set::ReplicaSet;

/// Faults that follow one another.
#[derive(Clone)]
pub struct Track {
    pub progress: Progress,
    pub marks: mpsc::Sender<Mark>,
}

/// A fault of one track, and when it is due.
struct Due<F> {
    at: usize,
    kind: Kind,
    fault: F,
}

/// Lets all faults happen, and returns when all is mended.
pub async fn disturb(
    track: Track,
    planned: &[Planned],
    services: &mut Services,
    fleet: &mut Fleet,
) -> anyhow::Result<()> {
    let Services { broker, store } = services;
    let hosts = due(planned, |fault| match fault {
        Fault::Host(fault) => Some(fault),
        Fault::Broker(_) | Fault::Store(_) => None,
    });
    let brokers = due(planned, |fault| match fault {
        Fault::Broker(fault) => Some(fault),
        Fault::Host(_) | Fault::Store(_) => None,
    });
    let stores = due(planned, |fault| match fault {
        Fault::Store(fault) => Some(fault),
        Fault::Host(_) | Fault::Broker(_) => None,
    });
    let hosts = track
        .clone()
        .run(hosts, async |fault| fleet.suffer(fault).await);
    let brokers = track.clone().run(brokers, async |fault| {
        break_broker(broker, fault).await;
        Ok(())
    });
    let stores = track.run(stores, async |fault| break_store(store, fault).await);
    tokio::try_join!(hosts, brokers, stores)?;
    broker.wait_until_it_answers().await;
    store.primary().await;
    Ok(())
}

impl Track {
    async fn run<F: Copy>(
        mut self,
        faults: Vec<Due<F>>,
        mut suffer: impl AsyncFnMut(F) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for Due { at, kind, fault } in faults {
            self.progress.wait_for(at).await;
            suffer(fault).await?;
            self.mark(Some(kind)).await?;
        }
        Ok(())
    }

    /// From here on, recovery from this fault is measured.
    pub async fn mark(&self, fault: Option<Kind>) -> anyhow::Result<()> {
        let mark = Mark {
            fault,
            since: Instant::now(),
            ends: self.progress.ends(),
            events: i64::try_from(self.progress.handed())?,
        };
        Ok(self.marks.send(mark).await?)
    }
}

fn due<F>(planned: &[Planned], of_track: impl Fn(Fault) -> Option<F>) -> Vec<Due<F>> {
    let due = planned.iter().filter_map(|planned| {
        Some(Due {
            at: planned.at,
            kind: planned.fault.kind(),
            fault: of_track(planned.fault)?,
        })
    });
    due.collect()
}

async fn break_broker(broker: &mut Broker, fault: BrokerFault) {
    match fault {
        BrokerFault::Kill { down } => {
            broker.wait_until_it_answers().await;
            broker.kill();
            sleep(down).await;
            broker.start_again();
        }
    }
}

async fn break_store(store: &mut ReplicaSet, fault: StoreFault) -> anyhow::Result<()> {
    match fault {
        StoreFault::StepDown => store.step_down().await,
        StoreFault::KillPrimary { down } => {
            let primary = store.primary().await;
            store.member(primary).kill();
            sleep(down).await;
            store.member(primary).start_again();
        }
        StoreFault::StopPrimary { pause } => {
            let primary = store.primary().await;
            store.member(primary).signal("STOP")?;
            sleep(pause).await;
            store.member(primary).signal("CONT")?;
        }
    }
    Ok(())
}
