//! The stores that hold a projection's views, and which of them answers a read.
//!
//! Guarantees:
//! - A read that one copy cannot answer in time, or does not let in, is tried on each of the others
//!   before it fails. So is one that a copy refuses for what it asks: where another one answers it,
//!   that was the copy's fault, and else the request's, which counts against nobody. A document of
//!   somebody else's is told at once.
//! - Only copies that are new enough are asked: those that include the position that a request
//!   names; without one, those that are not stale ([`staleness`](super::staleness)). Others are
//!   asked when all of these have failed, for what is left of the time to wait for a position.
//! - A copy whose reads keep failing is left alone for a while ([`breaker`](super::breaker)), and
//!   tried again also where nobody reads. Where that is so of all copies, the host is not ready.
//!
//! Which of those that are new enough is asked is for the [`Balancer`] to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use metrics::{counter, gauge};
use tracing::{debug, info, warn};

use super::breaker::Breaker;
use super::cache::{Cache, CachedReader};
use super::positions::{Position, Positions, Waited};
use super::staleness::Staleness;
use super::token::Token;
use crate::balance::{Balancer, Outcome, Pick};
use crate::policy::{Fault, Request, RoutingPolicy, Source, Target, TargetId};
use crate::store::{Error, Reader, Store};
use crate::telemetry::health::{Reachability, describe};

/// How often copies are compared.
const COMPARE_INTERVAL: Duration = Duration::from_millis(500);

/// How often copies are tried that are left alone.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// A read by id that takes longer is tried on another copy, where there is one.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// One store with the views of a projection.
pub struct Copy {
    /// The copy's name in the configuration.
    pub name: Arc<str>,
    /// What parked keys, metrics and the log call the projection in this copy.
    pub label: Arc<str>,
    /// How long one read may take.
    pub read_timeout: Duration,
    /// Missing until the store has answered for the first time.
    opened: OnceLock<Opened>,
    is_stale: AtomicBool,
    cache: Option<Arc<Cache>>,
    /// Where there is a cache, and the store has answered.
    cached: OnceLock<CachedReader>,
}

/// A store that has answered.
pub struct Opened {
    pub store: Arc<dyn Store>,
    pub reader: Arc<dyn Reader>,
    pub positions: Arc<Positions>,
}

/// Picks copies of a store, for all projections that keep their views there.
#[derive(Clone)]
pub struct Picker {
    balancer: Balancer,
    breakers: Arc<[Breaker]>,
    /// Where it is told whether any copy answers.
    reachability: Option<Reachability>,
}

/// At least one, in the order of their picker's targets.
#[derive(Clone)]
pub struct Copies {
    copies: Arc<[Arc<Copy>]>,
    picker: Picker,
}

/// What is read, as far as it matters for the choice of a copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'a> {
    /// What a policy hashes: the document's id, or the view's name.
    pub(super) key: &'a str,
    /// The reader's IP address.
    pub(super) client: &'a str,
    /// The position that the copy is to include, and how long to wait for one that does.
    pub(super) after: Option<(&'a Token, Duration)>,
    /// The copy to stay with, while it is new enough and answers.
    pub(super) stay: Option<&'a str>,
    /// Whether an answer that takes long is rather sought elsewhere.
    pub(super) is_quick: bool,
}

/// What became of one read so far: the copies that refused what it asks.
#[derive(Default)]
struct Tries(Vec<Refusal>);

/// Whose fault a refusal is turns out later.
struct Refusal {
    pick: Pick,
    took: Duration,
    error: Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// Another copy has answered.
    Copies,
    Request,
}

impl Tries {
    /// Takes note of an answer. A refusal stays here, and is an error of its own meanwhile.
    fn note<T>(
        &mut self,
        copies: &Copies,
        pick: Pick,
        took: Duration,
        answer: Result<T, Error>,
    ) -> Result<T, Error> {
        let target = pick.target();
        let copy = copies.copy(target);
        let error = match answer {
            Err(error @ Error::Refused { .. }) if copies.are_several() => error,
            answer => {
                let breaker = &copies.picker.breakers[index(target)];
                let outcome = copies.note(copy, breaker, &answer);
                copies.picker.balancer.done(pick, took, outcome);
                return answer;
            }
        };
        let name = copy.name.to_string();
        let refused = refused(&error, &name);
        self.0.push(Refusal { pick, took, error });
        Err(refused)
    }

    /// Says whose fault the refusals were, and gives the last of them.
    fn settle(self, copies: &Copies, blame: Blame) -> Option<Error> {
        let mut last = None;
        for Refusal { pick, took, error } in self.0 {
            let target = pick.target();
            let breaker = &copies.picker.breakers[index(target)];
            let outcome = match blame {
                Blame::Copies => {
                    copies.blame(copies.copy(target), breaker, &error);
                    Outcome::Failed
                }
                Blame::Request => copies.note::<()>(copies.copy(target), breaker, &Ok(())),
            };
            copies.picker.balancer.done(pick, took, outcome);
            last = Some(error);
        }
        last
    }
}

impl Copy {
    /// A copy that is not open yet.
    pub fn new(name: &str, label: &Arc<str>, read_timeout: Duration) -> Self {
        Copy {
            name: name.into(),
            label: Arc::clone(label),
            read_timeout,
            opened: OnceLock::new(),
            is_stale: AtomicBool::new(false),
            cache: None,
            cached: OnceLock::new(),
        }
    }

    /// The same with a cache, where there is one.
    #[must_use]
    pub fn cached(self, cache: Option<Arc<Cache>>) -> Self {
        Copy { cache, ..self }
    }

    /// What is kept of its documents.
    pub fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    /// From now on it is read. To be called once.
    pub fn open(&self, opened: Opened) {
        if let Some(cache) = &self.cache {
            let (reader, positions) = (&opened.reader, &opened.positions);
            let cache = Arc::clone(cache);
            self.cached.get_or_init(|| {
                CachedReader::new(Arc::clone(reader), Arc::clone(positions), cache)
            });
        }
        self.opened.get_or_init(|| opened);
    }

    pub(super) fn opened(&self) -> Result<&Opened, Error> {
        self.opened.get().ok_or_else(|| Error::Unavailable {
            address: format!("copy \"{}\"", self.name),
            source: "it has not answered since the host was started".into(),
        })
    }

    /// Waits for a read of this copy, but not for ever.
    pub(super) async fn within<T>(
        &self,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let reader = &self.opened()?.reader;
        within(reader.address(), self.read_timeout, read).await
    }

    /// Tells versions of this copy's documents from those of others; empty for the first copy.
    pub(super) fn mark(&self) -> &str {
        self.label.split_once('@').map_or("", |(_, copy)| copy)
    }

    /// For reads that no position is asked of.
    pub(super) fn reader(&self) -> Result<&dyn Reader, Error> {
        Ok(match self.cached.get() {
            Some(cached) => cached,
            None => &*self.opened()?.reader,
        })
    }

    /// When it has last answered anybody.
    fn answered(&self) -> Option<Instant> {
        self.opened.get()?.reader.answered()
    }

    fn position(&self) -> Arc<Position> {
        let opened = self.opened.get();
        opened.map_or_else(Arc::default, |opened| opened.positions.current())
    }
}

impl Picker {
    /// Over these copies, by their names and weights. Without a policy they take turns. `store`
    /// is the name for metrics and the log.
    ///
    /// # Panics
    ///
    /// Without any copy, or where two have one name.
    pub fn new<'a>(
        store: &str,
        copies: impl IntoIterator<Item = (&'a str, u32)>,
        policy: Option<Arc<dyn Source<dyn RoutingPolicy>>>,
    ) -> Self {
        let targets: Vec<Target> = (0..)
            .zip(copies)
            .map(|(id, (name, weight))| Target::new(TargetId(id), name, weight))
            .collect();
        Picker {
            breakers: targets.iter().map(|_| Breaker::default()).collect(),
            balancer: Balancer::new(&format!("store {store}"), targets, policy),
            reachability: None,
        }
    }

    /// The same, telling whether the store can be read at all.
    #[must_use]
    pub fn reporting(self, reachability: Reachability) -> Self {
        Picker {
            reachability: Some(reachability),
            ..self
        }
    }

    /// Has another policy pick from now on.
    ///
    /// # Errors
    /// Its fault, where it does not start; then what picks now goes on.
    pub fn ask(&self, policy: Arc<dyn Source<dyn RoutingPolicy>>) -> Result<(), Fault> {
        self.balancer.change_policy(policy, Instant::now())
    }
}

impl Copies {
    /// # Panics
    ///
    /// Where these are not as many as the picker's targets.
    pub fn new(copies: Vec<Arc<Copy>>, picker: Picker) -> Self {
        assert_eq!(copies.len(), picker.breakers.len(), "copies and targets");
        Copies {
            copies: copies.into(),
            picker,
        }
    }

    /// A store without further copies.
    pub fn one(copy: Arc<Copy>) -> Self {
        let picker = Picker::new(&copy.name, [(&*copy.name, 1)], None);
        Copies::new(vec![copy], picker)
    }

    pub fn are_several(&self) -> bool {
        self.copies.len() > 1
    }

    /// Asks copies until one answers.
    pub(super) async fn read<T, F>(
        &self,
        route: &Route<'_>,
        mut read: impl FnMut(Arc<Copy>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut eligible = self.eligible(route).await?;
        let mut tried = Vec::new();
        let mut tries = Tries::default();
        // The one that was not waited for, because another one may be quicker.
        let mut slow = None;
        loop {
            let request = Request {
                key: route.key.as_bytes(),
                client: route.client,
                tried: &tried,
            };
            let now = Instant::now();
            let pick = self.picker.balancer.pick(&request, &eligible, now);
            let target = pick.target();
            let copy = self.copy(target);
            let breaker = &self.picker.breakers[index(target)];
            tried.push(target);
            eligible.retain(|other| *other != target);
            let is_fit = |id: &TargetId| !self.picker.breakers[index(*id)].is_open();
            let hurries = route.is_quick && tried.len() == 1 && eligible.iter().any(is_fit);
            if eligible.is_empty() {
                eligible =
                    self.that(|id, copy| copy.opened.get().is_some() && !tried.contains(&id));
            }
            let answer = if !breaker.admit(now, copy.answered()) {
                Err(resting(copy))
            } else if hurries {
                let answer = tokio::time::timeout(RETRY_AFTER, read(Arc::clone(copy))).await;
                match answer {
                    Ok(answer) => tries.note(self, pick, now.elapsed(), answer),
                    Err(_) => {
                        slow = Some(target);
                        self.picker
                            .balancer
                            .done(pick, now.elapsed(), Outcome::Failed);
                        Err(unanswered(&copy.name, RETRY_AFTER))
                    }
                }
            } else {
                let answer = read(Arc::clone(copy)).await;
                tries.note(self, pick, now.elapsed(), answer)
            };
            let error = match answer {
                Err(error @ Error::Foreign { .. }) => {
                    tries.settle(self, Blame::Request);
                    return Err(error);
                }
                Err(error) => error,
                Ok(answer) => {
                    tries.settle(self, Blame::Copies);
                    return Ok(answer);
                }
            };
            if eligible.is_empty() {
                // Nothing was quicker, so it is waited for after all.
                eligible.extend(slow.take());
            }
            if eligible.is_empty() {
                // What the request itself runs into says more than that some copies are away.
                return Err(tries.settle(self, Blame::Request).unwrap_or(error));
            }
        }
    }

    /// The copies that are new enough, as soon as there is one.
    async fn eligible(&self, route: &Route<'_>) -> Result<Vec<TargetId>, Error> {
        let mut found = match route.after {
            Some((token, wait)) => self.reach(token, wait).await?,
            None => self.that(|_, copy| {
                copy.opened.get().is_some() && !copy.is_stale.load(Ordering::Relaxed)
            }),
        };
        let is_stay = |id: &TargetId| route.stay == Some(&*self.copy(*id).name);
        if let Some(stay) = found.iter().copied().find(is_stay) {
            found = vec![stay];
        }
        if found.is_empty() {
            found = self.that(|_, copy| copy.opened.get().is_some());
        }
        match found.is_empty() {
            true => Err(self.copies[0].opened().err().expect("it is not open")),
            false => Ok(found),
        }
    }

    /// The copies that include a position, as soon as there is one. Where there is none in time,
    /// the one that lacks least.
    async fn reach(&self, token: &Token, wait: Duration) -> Result<Vec<TargetId>, Error> {
        let includes = |copy: &Copy| copy.position().includes(token);
        let reached = self.that(|_, copy| includes(copy));
        if !reached.is_empty() {
            return Ok(reached);
        }
        let breakers = &*self.picker.breakers;
        let mut waits: FuturesUnordered<_> = ((0..).map(TargetId))
            .zip(self.copies.iter().zip(breakers))
            .map(|(id, (copy, breaker))| async move {
                if breaker.is_open() && !breaker.admit(Instant::now(), copy.answered()) {
                    return Err(resting(copy));
                }
                let waited = copy.opened()?.positions.wait(token, wait);
                let waited = match self.are_several() {
                    false => waited.await,
                    // The others' answer does not wait for a copy that is silent.
                    true => within(&copy.name, wait + RETRY_AFTER, waited).await,
                };
                self.note(copy, breaker, &waited);
                Ok((id, waited?))
            })
            .collect();
        let (mut behind, mut failed) = (Vec::new(), None);
        while let Some(waited) = waits.next().await {
            match waited {
                Ok((_, Waited::Reached(_))) => return Ok(self.that(|_, copy| includes(copy))),
                Ok((id, Waited::Behind(position))) => behind.push((position.lag(token), id)),
                Err(error) => failed = Some(error),
            }
        }
        let nearest = behind.into_iter().min_by_key(|(lag, _)| *lag);
        match (nearest, failed) {
            (Some((_, id)), _) => Ok(vec![id]),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Takes note of how a copy has answered.
    fn note<T>(&self, copy: &Copy, breaker: &Breaker, answer: &Result<T, Error>) -> Outcome {
        match answer {
            Err(error) if error.is_of_store() => {
                self.blame(copy, breaker, error);
                Outcome::Failed
            }
            Ok(_) | Err(_) => {
                if breaker.answered() {
                    info!(copy = %copy.name, "it answers reads again");
                    let name = copy.name.to_string();
                    gauge!("projectionist_gateway_copy_open", "copy" => name).set(0.0);
                    if let Some(reachability) = &self.picker.reachability {
                        reachability.reached();
                    }
                }
                Outcome::Answered
            }
        }
    }

    /// A read has failed, and that is the copy's fault.
    fn blame(&self, copy: &Copy, breaker: &Breaker, error: &Error) {
        debug!(copy = %copy.name, "a read failed: {}", describe(error));
        let name = || copy.name.to_string();
        counter!("projectionist_gateway_reads_failed_total", "copy" => name()).increment(1);
        if breaker.failed(Instant::now()) {
            warn!(copy = %copy.name, "its reads keep failing, so it is left alone for a while: {}",
                describe(error));
            gauge!("projectionist_gateway_copy_open", "copy" => name()).set(1.0);
        }
        if let Some(reachability) = &self.picker.reachability
            && self.picker.breakers.iter().all(Breaker::is_open)
        {
            reachability.lost(error);
        }
    }

    /// Compares the copies until the future is dropped, so that those that lag are known.
    pub async fn compare(&self, stale_after: Duration) {
        let mut staleness = Staleness::new(stale_after);
        loop {
            let positions: Vec<_> = self.copies.iter().map(|copy| copy.position()).collect();
            let standings = staleness.look(Instant::now(), &positions);
            for (copy, standing) in self.copies.iter().zip(standings) {
                let was_stale = copy.is_stale.swap(standing.is_stale, Ordering::Relaxed);
                let labels = [("projection", copy.label.to_string())];
                let fresh = if standing.is_stale { 0.0 } else { 1.0 };
                gauge!("projectionist_copy_fresh", &labels).set(fresh);
                gauge!("projectionist_copy_lag_events", &labels).set(standing.lag as f64);
                if copy.opened.get().is_none() || was_stale == standing.is_stale {
                    continue;
                }
                let (copy, lag) = (&copy.label, standing.lag);
                match standing.is_stale {
                    true => {
                        warn!(%copy, lag, "it lags behind the other copies, which are read meanwhile")
                    }
                    false => info!(%copy, "it is as far as the other copies, and read again"),
                }
            }
            tokio::time::sleep(COMPARE_INTERVAL).await;
        }
    }

    /// Tries copies that are left alone until the future is dropped: nobody reads from a host that
    /// is not ready.
    pub async fn probe(&self) {
        loop {
            tokio::time::sleep(PROBE_INTERVAL).await;
            let breakers = self.picker.breakers.iter();
            let probes = self
                .copies
                .iter()
                .zip(breakers)
                .map(|(copy, breaker)| async move {
                    let Some(opened) = copy.opened.get() else {
                        return;
                    };
                    if breaker.is_open() && breaker.admit(Instant::now(), copy.answered()) {
                        let answer = opened.positions.refresh().await;
                        self.note(copy, breaker, &answer);
                    }
                });
            join_all(probes).await;
        }
    }

    fn that(&self, is_right: impl Fn(TargetId, &Copy) -> bool) -> Vec<TargetId> {
        let copies = (0..).map(TargetId).zip(&*self.copies);
        let right = copies.filter(|(id, copy)| is_right(*id, copy));
        right.map(|(id, _)| id).collect()
    }

    fn copy(&self, target: TargetId) -> &Arc<Copy> {
        &self.copies[index(target)]
    }
}

/// Targets are numbered as their copies are.
fn index(target: TargetId) -> usize {
    usize::try_from(target.0).expect("it was a copy's index")
}

/// What is told of a refusal while it is not known whose fault it is.
fn refused(error: &Error, copy: &str) -> Error {
    Error::Refused {
        address: format!("copy \"{copy}\""),
        message: error.to_string(),
    }
}

fn resting(copy: &Copy) -> Error {
    Error::Unavailable {
        address: format!("copy \"{}\"", copy.name),
        source: "its last reads failed, so it is left alone for a moment".into(),
    }
}

/// Waits for a read, but not for ever. One that takes too long counts as an outage of its store.
pub(super) async fn within<T>(
    address: &str,
    timeout: Duration,
    read: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout, read).await {
        Ok(answer) => answer,
        Err(_) => Err(unanswered(address, timeout)),
    }
}

fn unanswered(address: &str, timeout: Duration) -> Error {
    Error::Unavailable {
        address: address.to_owned(),
        source: format!("no answer within {}", humantime::format_duration(timeout)).into(),
    }
}
