//! The seat that a policy is given: taken away at the first fault, offered again after a while.
//!
//! Guarantee: after a fault nothing is asked of that instance again, and a new one is started at
//! most once for each back-off ([`Probation`]), by one thread.

use std::sync::Arc;
use std::time::Instant;

use metrics::{Counter, Gauge};

use super::probation::Probation;
use crate::policy::{Fault, FaultKind, Source};

pub(super) struct Seat<P: ?Sized> {
    /// What is balanced, for the log.
    balanced: Arc<str>,
    /// `None` where the built-in policy is wanted.
    source: Option<Arc<dyn Source<P>>>,
    state: State<P>,
    probation: Probation,
    is_working: Gauge,
    faults: [(FaultKind, Counter); FaultKind::ALL.len()],
}

enum State<P: ?Sized> {
    Working(Box<P>),
    /// Somebody is starting it.
    Starting,
    /// After a fault, or before the first start.
    Empty {
        until: Option<Instant>,
    },
}

impl<P: ?Sized> Seat<P> {
    pub(super) fn new(balanced: &Arc<str>, source: Option<Arc<dyn Source<P>>>) -> Self {
        let fault = |kind: FaultKind| {
            let counter = metrics::counter!(
                "projectionist_policy_faults_total",
                "balanced" => balanced.to_string(), "kind" => kind.word()
            );
            (kind, counter)
        };
        Seat {
            balanced: balanced.clone(),
            source,
            state: State::Empty { until: None },
            probation: Probation::default(),
            is_working: metrics::gauge!(
                "projectionist_policy_working", "balanced" => balanced.to_string()
            ),
            faults: FaultKind::ALL.map(fault),
        }
    }

    /// The policy, where there is one to ask.
    pub(super) fn working(&mut self) -> Option<&mut P> {
        match &mut self.state {
            State::Working(policy) => Some(policy),
            State::Starting | State::Empty { .. } => None,
        }
    }

    /// Something to start, if it is time; then [`Seat::take`] must hear how it went. Starting
    /// takes a while, so it should not be done where others wait.
    pub(super) fn offer(&mut self, now: Instant) -> Option<Arc<dyn Source<P>>> {
        let State::Empty { until } = self.state else {
            return None;
        };
        if until.is_some_and(|until| now < until) {
            return None;
        }
        let source = self.source.clone()?;
        self.state = State::Starting;
        Some(source)
    }

    /// Seats what was started, unless it has failed, or another source was named meanwhile.
    pub(super) fn take(
        &mut self,
        source: &Arc<dyn Source<P>>,
        started: Result<Box<P>, Fault>,
        now: Instant,
    ) {
        let is_wanted = self
            .source
            .as_ref()
            .is_some_and(|wanted| Arc::ptr_eq(wanted, source));
        if !is_wanted {
            return;
        }
        match started {
            Ok(policy) => self.seat(policy, now),
            Err(fault) => self.failed(&fault, now),
        }
    }

    /// Another policy from now on, with an instance that has started already.
    pub(super) fn change(&mut self, source: Arc<dyn Source<P>>, policy: Box<P>, now: Instant) {
        self.source = Some(source);
        self.probation = Probation::default();
        self.seat(policy, now);
    }

    fn seat(&mut self, policy: Box<P>, now: Instant) {
        if self.probation.has_failed() {
            let (balanced, policy) = (&*self.balanced, self.name());
            tracing::info!(balanced, policy, "the policy is tried again");
        }
        self.state = State::Working(policy);
        self.probation.started(now);
        self.is_working.set(1.0);
    }

    /// Takes the seat away until the back-off has passed.
    pub(super) fn failed(&mut self, fault: &Fault, now: Instant) {
        let delay = self.probation.failed(now);
        self.state = State::Empty {
            until: Some(now + delay),
        };
        self.is_working.set(0.0);
        let of_kind = self.faults.iter().find(|(kind, _)| *kind == fault.kind);
        of_kind.expect("all kinds are counted").1.increment(1);
        let (balanced, policy) = (&*self.balanced, self.name());
        if self.probation.is_known_to_fail() {
            tracing::debug!(balanced, policy, "{fault}; tried again in {delay:?}");
        } else {
            tracing::warn!(
                balanced,
                policy,
                "{fault}; the built-in policy stands in, and the policy is tried again in {delay:?}"
            );
        }
    }

    fn name(&self) -> &str {
        self.source
            .as_ref()
            .map_or("built-in", |source| source.name())
    }
}
