//! Changing over to another version of the plugin, between two batches.
//!
//! Guarantees:
//! - The old version's results are all stored before the new one folds its first event.
//! - A version that does not start stops the domain's partitions. The old one is not run any
//!   more: another host may run the new one already.
//! - What was parked for the faults of a version that was rolled back is folded again.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::super::DomainLayout;
use super::super::lane::{Fold, Folded, Lane, LaneEnded};
use super::super::lanes::Lanes;
use super::super::shadow::{Comparison, Report};
use super::super::version::{MakeProjector, Version};
use super::{Context, Domain, Member};
use crate::parked::{Action, Request};
use crate::record::Offset;
use crate::store::{self, Store};
use crate::telemetry::health::describe;
use crate::unix_time::now_ms;

/// What runs a version, started.
pub struct Running {
    pub version: Arc<Version>,
    pub(super) lanes: Lanes,
    /// `None` where there is no candidate, or it does not start.
    pub(super) candidate: Option<Lanes>,
}

impl Running {
    /// Starts lanes for the plugin, and for the candidate. The text says why it cannot be.
    pub async fn start(
        name: &str,
        version: Arc<Version>,
        context: &Context,
        store: &Arc<dyn Store>,
    ) -> Result<Running, String> {
        let lanes = start_lanes(name, &version.make_projector, context, store).await;
        let lanes = lanes.map_err(|reason| {
            format!(
                "plugin {} does not start: {reason}; activate another one",
                version.hash
            )
        })?;
        let mut candidate = None;
        if let Some(tried) = &version.candidate {
            let name = format!("{name} candidate");
            match start_lanes(&name, &tried.make_projector, context, store).await {
                Ok(lanes) => candidate = Some(lanes),
                Err(reason) => {
                    warn!(projection = %context.name, plugin = %tried.hash, "the candidate does not start: {reason}");
                    lock(&tried.report).given_up = Some(reason);
                }
            }
        }
        Ok(Running {
            version,
            lanes,
            candidate,
        })
    }
}

/// As many lanes as the placement has; one where the partitions of a domain share documents.
async fn start_lanes(
    name: &str,
    make_projector: &MakeProjector,
    context: &Context,
    store: &Arc<dyn Store>,
) -> Result<Lanes, String> {
    let count = match context.layout {
        DomainLayout::PerPartition => context.placement.lanes(),
        DomainLayout::Joined => 1,
    };
    let mut lanes = Vec::with_capacity(count);
    for lane in 0..count {
        let name = match count {
            1 => name.to_owned(),
            _ => format!("{name} {lane}"),
        };
        lanes.push(start_lane(&name, make_projector, context, store).await?);
    }
    Ok(Lanes::new(lanes, context.placement.clone()))
}

async fn start_lane(
    name: &str,
    make_projector: &MakeProjector,
    context: &Context,
    store: &Arc<dyn Store>,
) -> Result<Lane, String> {
    let make_projector = Arc::clone(make_projector);
    // Making an instance is CPU time: tenths of a millisecond in Rust, more in others.
    let projector = tokio::task::spawn_blocking(move || make_projector())
        .await
        .map_err(|error| format!("making an instance ended: {error}"))?
        .map_err(|error| describe(&error))?;
    let store = Arc::clone(store);
    Lane::start(
        &format!("{} {name}", context.name),
        projector,
        store,
        Arc::clone(&context.views),
    )
    .map_err(|error| format!("cannot start a thread: {error}"))
}

/// The version to change over to.
pub(super) enum Next {
    Ready(Running),
    /// It does not start, for this reason.
    Broken {
        version: u64,
        reason: String,
    },
}

/// A candidate that folds what the running plugin folds.
pub(super) struct Beside<'a> {
    lanes: &'a Lanes,
    report: &'a Mutex<Report>,
}

impl Running {
    /// The candidate, where one is still of use.
    pub(super) fn beside(&self) -> Option<Beside<'_>> {
        let candidate = self.version.candidate.as_ref()?;
        let lanes = self.candidate.as_ref()?;
        let report = &*candidate.report;
        (!lock(report).is_over()).then_some(Beside { lanes, report })
    }
}

impl Beside<'_> {
    /// Waits for the running plugin's fold and for the candidate's, and notes how they compare.
    /// Both must be done before the documents may change.
    pub(super) async fn fold(
        &self,
        version: &Version,
        active: impl Future<Output = Result<Folded, LaneEnded>>,
        tried: Fold,
    ) -> Result<Folded, LaneEnded> {
        let partition = tried.partition.clone();
        let (active, tried) = tokio::join!(timed(active), timed(self.lanes.fold(tried)));
        let ((active, active_took), (tried, candidate_took)) = (active, tried);
        let active = active?;
        let mut report = lock(self.report);
        match (&active.result, &tried) {
            (Ok(output), Ok(tried)) => report.compare(&Comparison {
                views: &version.descriptor.views,
                partition: &partition,
                events: &active.events,
                active: (output, active_took),
                candidate: (&tried.result, candidate_took),
            }),
            (_, Err(ended)) => report.given_up = Some(ended.to_string()),
            (Err(_), Ok(_)) => {}
        }
        drop(report);
        Ok(active)
    }
}

async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    (future.await, started.elapsed())
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().expect("nobody panics with the lock")
}

impl Domain {
    /// Starts another version. It takes over as soon as it may.
    pub(super) async fn prepare_swap(&mut self, version: Arc<Version>) {
        let number = version.number;
        let running = Running::start(
            &self.parts.name,
            version,
            &self.parts.context,
            &self.parts.store,
        );
        self.next_version = Some(match running.await {
            Ok(running) => Next::Ready(running),
            Err(reason) => Next::Broken {
                version: number,
                reason,
            },
        });
    }

    /// The number of the version that decides what becomes of the partitions.
    pub(super) fn version(&self) -> u64 {
        match &self.next_version {
            Some(Next::Broken { version, .. }) => *version,
            Some(Next::Ready(_)) | None => self.parts.running.version.number,
        }
    }

    /// Changes over where another version has come and all results of the old one are stored.
    /// False where there is nothing to do now.
    pub(super) fn swap(&mut self) -> bool {
        if self.in_flight.is_some() || self.members.iter().any(Member::has_pending) {
            return false;
        }
        let running = match self.next_version.take() {
            None => return false,
            Some(Next::Ready(running)) => running,
            Some(Next::Broken { version, reason }) => {
                let stopped = self.stop_members(&reason.clone().into());
                // For partitions that come later, too.
                self.next_version = Some(Next::Broken { version, reason });
                return stopped;
            }
        };
        let projection = &self.parts.context.name;
        info!(
            %projection, plugin = %running.version.hash, revision = running.version.number,
            "folds with this version from here on"
        );
        self.parts.running = running;
        // Faults that were being looked for were the old version's, and so is the encoding of
        // what is cached.
        self.retract();
        for member in &mut self.members {
            member.tried = None;
        }
        self.let_full_go_on();
        self.repairs.forget_lane();
        self.retry_at = None;
        self.backoff.reset();
        self.redeem = true;
        true
    }

    /// Asks for what a withdrawn version's faults have parked to be folded again.
    pub(super) async fn redeem(&mut self) -> Result<(), store::Error> {
        if !std::mem::take(&mut self.redeem) {
            return Ok(());
        }
        for withdrawn in &self.parts.running.version.withdrawn {
            for member in &self.members {
                let firsts: Vec<Offset> = member.sieve.parking().firsts_by(withdrawn).collect();
                for first in firsts {
                    let request = Request {
                        action: Action::Drain { plugin: None },
                        by: format!("the rollback of plugin {withdrawn}"),
                        at_ms: now_ms(),
                    };
                    let entry = request.to_entry(&member.checkpoint, first);
                    // A request that somebody has made before stays.
                    if let Err(error) = self.parts.store.add_entry(&entry).await {
                        self.redeem = true;
                        return Err(error);
                    }
                    self.repairs.look_now();
                }
            }
        }
        Ok(())
    }

    /// Why nothing may be folded by this version now; `None` where something may.
    pub(super) fn is_held(&self) -> bool {
        let trial = self.parts.running.version.trial.as_ref();
        self.next_version.is_some() || trial.is_some_and(|trial| trial.has_failed())
    }
}
