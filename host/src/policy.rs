//! What a balancing policy is to the host, whoever executes it.
//!
//! `balance` asks a [`RoutingPolicy`] which target answers a read, and a [`PlacementPolicy`] where
//! slots live; `plugin` implements both with Wasm instances, and tests and built-in policies
//! implement them natively. The shapes are those of `wit/plugin.wit`.
//!
//! A policy expresses a preference. Whoever asks checks the answer, and goes on without the policy
//! where it is at [`Fault`]: nothing here is trusted.

use std::fmt;
use std::sync::Arc;

/// Stable for the life of a target; never an index, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

/// What may be picked: a copy of a store, or a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub id: TargetId,
    pub name: Arc<str>,
    pub weight: u32,
    /// Work given and not yet answered.
    pub in_flight: u32,
    /// Moving average, microseconds; 0 before the first answer.
    pub latency_us: u32,
    pub served: u64,
    pub failed: u64,
    /// 0 to 1000.
    pub cpu_permille: u32,
}

impl Target {
    /// One that has not done anything yet.
    pub fn new(id: TargetId, name: &str, weight: u32) -> Self {
        Target {
            id,
            name: name.into(),
            weight,
            in_flight: 0,
            latency_us: 0,
            served: 0,
            failed: 0,
            cpu_permille: 0,
        }
    }
}

/// A read that somebody has to answer.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What a hash is taken of: the document's id, as a rule.
    pub key: &'a [u8],
    /// Textual IP address of the client.
    pub client: &'a str,
    /// Targets that this request has failed on already.
    pub tried: &'a [TargetId],
}

/// The state of the lanes, of which a table of slots is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    pub targets: &'a [Target],
    /// The target of each slot now; empty when a policy is asked for the first time.
    pub owners: &'a [TargetId],
    /// Microseconds of work a second, of each slot.
    pub slot_load: &'a [u32],
    /// Most slots that the host moves for one answer.
    pub move_budget: u32,
}

/// Says who answers a read.
pub trait RoutingPolicy: Send {
    /// Picks one of `eligible`, which is never empty.
    fn pick(&mut self, request: &Request<'_>, eligible: &[Target]) -> Result<TargetId, Fault>;

    /// Hears how a pick went.
    fn observe(&mut self, target: TargetId, latency_us: u32, ok: bool) -> Result<(), Fault>;
}

/// Says where slots live.
pub trait PlacementPolicy: Send {
    /// One target for each slot.
    fn place(&mut self, snapshot: &Snapshot<'_>) -> Result<Vec<TargetId>, Fault>;
}

/// Starts a policy, as often as it is needed: each instance knows nothing of the one before.
pub trait Source<P: ?Sized>: Send + Sync {
    /// For messages: the plugin's own name.
    fn name(&self) -> &str;

    /// Starts and configures an instance.
    fn start(&self) -> Result<Box<P>, Fault>;
}

/// What a policy did wrong. It should not be asked again before it is started anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct Fault {
    pub kind: FaultKind,
    /// The text of the policy, or of the check that it failed.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped; a panic or an uncaught exception ends so.
    Trap,
    /// The guest ran longer than its time limit.
    Timeout,
    /// The guest asked for more memory or table space than its limit.
    Memory,
    /// The policy answered `err`.
    Refused,
    /// The answer is none: an unknown target, a slot too many.
    Nonsense,
    /// The engine could not run the policy: no fault of its own.
    Engine,
}

impl FaultKind {
    pub const ALL: [FaultKind; 6] = [
        FaultKind::Trap,
        FaultKind::Timeout,
        FaultKind::Memory,
        FaultKind::Refused,
        FaultKind::Nonsense,
        FaultKind::Engine,
    ];

    /// One word, for metrics.
    pub fn word(self) -> &'static str {
        match self {
            FaultKind::Trap => "trap",
            FaultKind::Timeout => "timeout",
            FaultKind::Memory => "memory",
            FaultKind::Refused => "refused",
            FaultKind::Nonsense => "nonsense",
            FaultKind::Engine => "engine",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::Trap => "the policy trapped",
            FaultKind::Timeout => "the policy exceeded its time limit",
            FaultKind::Memory => "the policy exceeded its memory limit",
            FaultKind::Refused => "the policy refused",
            FaultKind::Nonsense => "the policy gave an answer that is none",
            FaultKind::Engine => "the engine cannot run the policy",
        })
    }
}

impl Fault {
    pub fn nonsense(detail: impl fmt::Display) -> Self {
        Fault {
            kind: FaultKind::Nonsense,
            detail: detail.to_string(),
        }
    }
}
