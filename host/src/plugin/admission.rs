//! The way of a plugin file into the host: every check, up to the plugin's own word on what it is.
//!
//! In this order, so that the cheap ones come first and the message names what a user can change:
//! size and kind of file, validity, imports and exports by name (`module`, `contract`), types
//! (`link`), a first start and `describe` under limits (`describe`), and what that answers
//! (`descriptor`). Nothing here panics, whatever the bytes; but the libraries for it recurse, and
//! take what time and memory they need. That is why a host leaves all of it to a child process
//! (`workshop`).
//!
//! Not here: configurations; each projection has its own (`projector`).

use std::sync::Arc;

use wasmtime::component::Component;

use crate::projection::{self, Fault, FaultKind};

use super::about::{About, Description};
use super::account::Account;
use super::bindings::ProjectionPluginPre;
use super::engine::Engine;
use super::error::{Error, Problem};
use super::guest::Guest;
use super::instance::{Instance, TEXT_ROOM};
use super::kind::Kind;
use super::limits::Limits;
use super::logs::Logs;
use super::policy::{self, Silent};
use super::{contract, descriptor, language, module};

/// For the instance that is only asked what it is: the projection's own limits are not known
/// yet, and may be above the defaults.
const SCRATCH_MEMORY_BYTES_MAX: usize = 512 << 20;

/// A plugin file that has passed every check.
pub(super) struct Admitted {
    pub(super) about: About,
    pub(super) component: Component,
    pub(super) compiled: Compiled,
}

/// Ready to start.
pub(super) enum Compiled {
    Projection(ProjectionPluginPre<Guest>),
    Policy(policy::Compiled),
}

/// Takes a plugin file through every check and tells what it is. `name` is for messages.
///
/// Takes tens of milliseconds to seconds of computing: not for an async thread.
pub fn examine(engine: &Engine, name: &str, bytes: &[u8]) -> Result<About, Error> {
    admit(engine, name, bytes).map(|admitted| admitted.about)
}

pub(super) fn admit(engine: &Engine, name: &str, bytes: &[u8]) -> Result<Admitted, Error> {
    let Some(workshop) = engine.workshop() else {
        return admit_here(engine, name, bytes);
    };
    let (about, component) = workshop.admit(engine.wasmtime(), name, bytes)?;
    let compiled = link(engine, about.kind, &component).map_err(|problem| problem.of(name))?;
    Ok(Admitted {
        about,
        component,
        compiled,
    })
}

/// The same within this process, whatever the engine's way.
pub(super) fn admit_here(engine: &Engine, name: &str, bytes: &[u8]) -> Result<Admitted, Error> {
    let refused = |problem: Problem| problem.of(name);
    let component = module::component(bytes).map_err(refused)?;
    let kind = contract::check(&component).map_err(refused)?;
    let language = language::of(&component);
    let component = Component::new(engine.wasmtime(), component)
        .map_err(|error| refused(Problem::Invalid(format!("{error:#}"))))?;
    let compiled = link(engine, kind, &component).map_err(refused)?;
    let description = describe(engine, &compiled, name)?;
    Ok(Admitted {
        about: About::new(bytes, kind, language, &description),
        component,
        compiled,
    })
}

fn link(engine: &Engine, kind: Kind, component: &Component) -> Result<Compiled, Problem> {
    let linked = match kind {
        Kind::Projection => engine
            .projections()
            .instantiate_pre(component)
            .and_then(ProjectionPluginPre::new)
            .map(Compiled::Projection),
        Kind::Placement => policy::Compiled::placement(engine, component).map(Compiled::Policy),
        Kind::Routing => policy::Compiled::routing(engine, component).map(Compiled::Policy),
    };
    linked.map_err(|error| Problem::Mismatch(format!("{error:#}")))
}

fn describe(engine: &Engine, compiled: &Compiled, name: &str) -> Result<Description, Error> {
    let limits = Limits {
        memory_bytes_max: SCRATCH_MEMORY_BYTES_MAX,
        ..Limits::default()
    };
    // Its own: what the file takes here is no matter of those that run.
    let account = Account::new(2 * SCRATCH_MEMORY_BYTES_MAX);
    let logs = Arc::new(Logs::new(name));
    let refused = |problem: fn(&Fault) -> Problem, error| match error {
        projection::Error::Fault(fault) => problem(&fault).of(name),
        projection::Error::Host(error) => Error::Engine(error.into()),
    };
    let description = match compiled {
        Compiled::Projection(plugin) => {
            let mut scratch = Instance::start(plugin, limits, logs, account.charge())
                .map_err(|unanswered| refused(not_started, unanswered.end(TEXT_ROOM)))?;
            let raw = scratch
                .describe()
                .map_err(|unanswered| refused(not_described, unanswered.end(TEXT_ROOM)))?;
            descriptor::check(raw).map(Description::Projection)
        }
        Compiled::Policy(policy) => {
            let raw =
                policy
                    .describe(engine, &account, limits, logs)
                    .map_err(|silent| match silent {
                        Silent::Start(error) => refused(not_started, error),
                        Silent::Describe(error) => refused(not_described, error),
                    })?;
            descriptor::check_policy(raw).map(Description::Policy)
        }
    };
    description.map_err(|problem| Problem::Descriptor(problem).of(name))
}

fn not_started(fault: &Fault) -> Problem {
    // A start has no answer: what does not fit are the functions, which the engine looks up then.
    if fault.kind == FaultKind::InvalidOutput {
        Problem::Mismatch(format!(
            "a function that it exports has not the types of wit/plugin.wit: {}",
            fault.detail
        ))
    } else {
        Problem::Start(fault.to_string())
    }
}

fn not_described(fault: &Fault) -> Problem {
    Problem::Describe(fault.to_string())
}
