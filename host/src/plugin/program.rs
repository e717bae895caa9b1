//! One plugin file, checked and compiled.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::projection::{self, Descriptor};

use super::bindings::ProjectionPluginPre;
use super::engine::Engine;
use super::error::{Error, Problem};
use super::guest::Guest;
use super::instance::Instance;
use super::limits::Limits;
use super::logs::Logs;
use super::{contract, descriptor, module};

/// For the instance that is only asked what it is: the projection's own limits are not known
/// yet, and may be above the defaults.
const SCRATCH_MEMORY_BYTES_MAX: usize = 512 << 20;

/// A plugin that any number of projections can run.
pub struct Program {
    name: String,
    hash: Arc<str>,
    descriptor: Arc<Descriptor>,
    compiled: ProjectionPluginPre<Guest>,
    /// Keeps the clock going for as long as there are instances.
    engine: Arc<Engine>,
}

impl Program {
    /// Checks and compiles a plugin file, and asks it what it is. `name` is for messages.
    ///
    /// Takes tens of milliseconds to seconds of computing: not for an async thread.
    pub fn load(engine: &Arc<Engine>, name: &str, bytes: &[u8]) -> Result<Arc<Self>, Error> {
        let compiled = compile(engine, bytes).map_err(|problem| problem.of(name))?;
        let descriptor = describe(&compiled, name)?;
        Ok(Arc::new(Program {
            name: name.to_owned(),
            hash: format!("{:x}", Sha256::digest(bytes)).into(),
            descriptor: Arc::new(descriptor),
            compiled,
            engine: engine.clone(),
        }))
    }

    /// The name that it was loaded under.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// SHA-256 of the file, in hexadecimal digits.
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    pub fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    pub(super) fn start(
        &self,
        limits: Limits,
        logs: Arc<Logs>,
    ) -> Result<Instance, projection::Error> {
        Instance::start(&self.compiled, limits, logs)
    }
}

fn compile(engine: &Engine, bytes: &[u8]) -> Result<ProjectionPluginPre<Guest>, Problem> {
    let component = module::component(bytes)?;
    contract::check(&component)?;
    let component = Component::new(engine.wasmtime(), &component)
        .map_err(|error| Problem::Invalid(format!("{error:#}")))?;
    engine
        .linker()
        .instantiate_pre(&component)
        .and_then(ProjectionPluginPre::new)
        .map_err(|error| Problem::Mismatch(format!("{error:#}")))
}

fn describe(compiled: &ProjectionPluginPre<Guest>, name: &str) -> Result<Descriptor, Error> {
    let limits = Limits {
        memory_bytes_max: SCRATCH_MEMORY_BYTES_MAX,
        ..Limits::default()
    };
    let logs = Arc::new(Logs::new(name));
    let refused = |problem: fn(String) -> Problem| {
        move |error| match error {
            projection::Error::Fault(fault) => problem(fault.to_string()).of(name),
            projection::Error::Host(error) => Error::Engine(error.into()),
        }
    };
    let mut scratch = Instance::start(compiled, limits, logs).map_err(refused(Problem::Start))?;
    let raw = scratch.describe().map_err(refused(Problem::Describe))?;
    descriptor::check(raw).map_err(|problem| Problem::Descriptor(problem).of(name))
}
