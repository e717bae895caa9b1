//! The file of a policy, checked and compiled.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::Component;

use crate::policy::{Fault, FaultKind};
use crate::projection;

use super::about::About;
use super::account::{Account, Short};
use super::admission::{self, Admitted};
use super::bindings::placement::{PlacementPolicy, PlacementPolicyPre, balancing};
use super::bindings::routing::{RoutingPolicy, RoutingPolicyPre};
use super::engine::Engine;
use super::error::{Error, Problem};
use super::guest::Guest;
use super::instance::{self, TEXT_ROOM, Unanswered};
use super::kind::Kind;
use super::limits::Limits;
use super::logs::Logs;
use super::purse::Purse;
use super::schema;

/// Ready to start, its types held against the contract.
pub(super) enum Compiled {
    Placement(PlacementPolicyPre<Guest>),
    Routing(RoutingPolicyPre<Guest>),
}

/// A policy that any number of balancers can run.
pub struct Policy {
    name: String,
    about: About,
    compiled: Compiled,
    /// Keeps the clock going for as long as there are instances.
    engine: Arc<Engine>,
}

/// A policy with its configuration, which has been taken once.
pub(super) struct Configured {
    pub(super) policy: Arc<Policy>,
    /// JSON.
    config: String,
    limits: Limits,
    logs: Arc<Logs>,
}

/// A policy that runs, of either kind. After a failed call it must be dropped.
pub(super) struct Running<B> {
    store: Store<Guest>,
    bindings: B,
}

/// Where a policy ended before it had said what it is.
pub(super) enum Silent {
    Start(projection::Error),
    Describe(projection::Error),
}

/// The two kinds of policy, where they differ in the generated code alone.
pub(super) trait World: Sized {
    fn start(compiled: &Compiled, store: &mut Store<Guest>) -> wasmtime::Result<Self>;
    fn describe(&self, store: &mut Store<Guest>) -> wasmtime::Result<balancing::Policy>;
    fn configure(
        &self,
        store: &mut Store<Guest>,
        config: &str,
    ) -> wasmtime::Result<Result<(), String>>;
}

impl Policy {
    /// Checks and compiles a policy's file, and asks it what it is; another kind of plugin is
    /// refused. `name` is for messages.
    ///
    /// Takes tens of milliseconds to seconds of computing: not for an async thread.
    pub fn load(
        engine: &Arc<Engine>,
        name: &str,
        bytes: &[u8],
        wanted: Kind,
    ) -> Result<Arc<Self>, Error> {
        let Admitted {
            about, compiled, ..
        } = admission::admit(engine, name, bytes)?;
        match compiled {
            admission::Compiled::Policy(compiled) if about.kind == wanted => Ok(Arc::new(Policy {
                name: name.to_owned(),
                about,
                compiled,
                engine: engine.clone(),
            })),
            admission::Compiled::Policy(_) | admission::Compiled::Projection(_) => {
                let found = about.kind;
                Err(Problem::OtherKind { found, wanted }.of(name))
            }
        }
    }

    /// What is known of the file.
    pub fn about(&self) -> &About {
        &self.about
    }

    fn start<B: World>(&self, limits: &Limits, logs: Arc<Logs>) -> Result<Running<B>, Fault> {
        let mut store = store(&self.engine, self.engine.account(), limits, logs).map_err(fault)?;
        let started = B::start(&self.compiled, &mut store);
        let bindings = heard(&mut store, started).map_err(fault)?;
        Ok(Running { store, bindings })
    }
}

impl Configured {
    /// Holds the configuration against the policy's schema, then has an instance take it.
    /// `balanced` names what it balances.
    pub(super) fn new<B: World>(
        policy: Arc<Policy>,
        balanced: &str,
        config: &serde_json::Value,
        limits: Limits,
    ) -> Result<Self, Error> {
        let wrong = |detail| Error::Configuration {
            plugin: policy.name.clone(),
            whose: format!("the policy of \"{balanced}\""),
            detail,
        };
        if let Some(schema) = &policy.about.config_schema {
            schema::check(&schema.to_string(), config).map_err(wrong)?;
        }
        let logs = Logs::new(balanced).kept_in(policy.engine.tails().of(balanced));
        let configured = Configured {
            config: config.to_string(),
            limits,
            logs: Arc::new(logs),
            policy: policy.clone(),
        };
        match configured.start::<B>() {
            Ok(_) => Ok(configured),
            Err(fault) if fault.kind == FaultKind::Engine => Err(Error::Engine(fault.into())),
            Err(fault) if fault.kind == FaultKind::Refused => Err(wrong(fault.detail)),
            Err(fault) => Err(wrong(fault.to_string())),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.policy.about.name
    }

    /// An instance that is configured.
    pub(super) fn start<B: World>(&self) -> Result<Running<B>, Fault> {
        let mut running = self.policy.start(&self.limits, self.logs.clone())?;
        let given = self.config.len();
        let configured = running.call(self.limits.call_max, given, |policy: &B, store| {
            policy.configure(store, &self.config)
        })?;
        configured.map_err(refused)?;
        Ok(running)
    }
}

impl<B> Running<B> {
    /// `given` is what it is given, in bytes.
    pub(super) fn call<T>(
        &mut self,
        time_max: Duration,
        given: usize,
        call: impl FnOnce(&B, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        enter(&mut self.store, time_max, given).map_err(fault)?;
        let result = call(&self.bindings, &mut self.store);
        // What it took is kept for the next call: it is little, and a pick is to take no time.
        heard(&mut self.store, result).map_err(fault)
    }

    /// True where it is time for a new instance, although this one works.
    pub(super) fn is_worn(&self) -> bool {
        self.store.data().limiter.nearly_full()
    }
}

impl Compiled {
    pub(super) fn placement(engine: &Engine, component: &Component) -> wasmtime::Result<Self> {
        let linked = engine.policies().instantiate_pre(component)?;
        PlacementPolicyPre::new(linked).map(Compiled::Placement)
    }

    pub(super) fn routing(engine: &Engine, component: &Component) -> wasmtime::Result<Self> {
        let linked = engine.policies().instantiate_pre(component)?;
        RoutingPolicyPre::new(linked).map(Compiled::Routing)
    }

    /// Starts an instance for this one question.
    pub(super) fn describe(
        &self,
        engine: &Engine,
        account: &Arc<Account>,
        limits: Limits,
        logs: Arc<Logs>,
    ) -> Result<balancing::Policy, Silent> {
        match self {
            Compiled::Placement(_) => {
                self.describe_as::<PlacementPolicy>(engine, account, limits, logs)
            }
            Compiled::Routing(_) => {
                self.describe_as::<RoutingPolicy>(engine, account, limits, logs)
            }
        }
    }

    fn describe_as<B: World>(
        &self,
        engine: &Engine,
        account: &Arc<Account>,
        limits: Limits,
        logs: Arc<Logs>,
    ) -> Result<balancing::Policy, Silent> {
        let mut store = store(engine, account, &limits, logs).map_err(Silent::Start)?;
        let started = B::start(self, &mut store);
        let policy = heard(&mut store, started).map_err(Silent::Start)?;
        enter(&mut store, limits.call_max, 0).map_err(Silent::Start)?;
        let described = policy.describe(&mut store);
        heard(&mut store, described).map_err(Silent::Describe)
    }
}

/// The policy's own `err`.
pub(super) fn refused(text: String) -> Fault {
    let detail = super::fault::clip(&text, super::fault::TEXT_BYTES_MAX).to_owned();
    Fault {
        kind: FaultKind::Refused,
        detail,
    }
}

fn store(
    engine: &Engine,
    account: &Arc<Account>,
    limits: &Limits,
    logs: Arc<Logs>,
) -> Result<Store<Guest>, projection::Error> {
    let mut purse = Purse::new(account);
    purse.keep_instance().map_err(short)?;
    Ok(instance::store(engine.wasmtime(), limits, logs, purse))
}

fn enter(
    store: &mut Store<Guest>,
    time_max: Duration,
    given: usize,
) -> Result<(), projection::Error> {
    instance::charge(store, given, TEXT_ROOM).map_err(short)?;
    instance::enter(store, time_max, None);
    Ok(())
}

/// Nobody waits for a policy: the built-in one stands in.
fn short(short: Short) -> projection::Error {
    Unanswered::Short(short).end(TEXT_ROOM)
}

fn heard<T>(store: &mut Store<Guest>, result: wasmtime::Result<T>) -> Result<T, projection::Error> {
    instance::heard(store, result).map_err(|unanswered| unanswered.end(TEXT_ROOM))
}

fn fault(error: projection::Error) -> Fault {
    let fault = match error {
        projection::Error::Fault(fault) => fault,
        projection::Error::Host(error) => {
            return Fault {
                kind: FaultKind::Engine,
                detail: crate::telemetry::health::describe(&error),
            };
        }
    };
    let kind = match fault.kind {
        projection::FaultKind::Trap => FaultKind::Trap,
        projection::FaultKind::Timeout => FaultKind::Timeout,
        projection::FaultKind::Memory => FaultKind::Memory,
        projection::FaultKind::Rejected | projection::FaultKind::Failed => FaultKind::Refused,
        // No policy has anything stored.
        projection::FaultKind::InvalidOutput | projection::FaultKind::Unstorable => {
            FaultKind::Nonsense
        }
    };
    Fault {
        kind,
        detail: fault.detail,
    }
}
