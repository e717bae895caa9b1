//! The file of a projection, checked and compiled.

use std::sync::Arc;

use crate::projection::Descriptor;

use super::about::About;
use super::account::Charge;
use super::admission::{self, Admitted, Compiled};
use super::bindings::ProjectionPluginPre;
use super::engine::Engine;
use super::error::{Error, Problem};
use super::guest::Guest;
use super::instance::{Instance, Unanswered};
use super::limits::Limits;
use super::logs::Logs;

/// A plugin that any number of projections can run.
#[derive(Clone)]
pub struct Program {
    name: String,
    hash: Arc<str>,
    about: About,
    descriptor: Arc<Descriptor>,
    compiled: ProjectionPluginPre<Guest>,
    /// Keeps the clock going for as long as there are instances.
    engine: Arc<Engine>,
}

impl Program {
    /// Checks and compiles a projection's file, and asks it what it is; another kind of plugin is
    /// refused. `name` is for messages.
    ///
    /// Takes tens of milliseconds to seconds of computing: not for an async thread.
    pub fn load(engine: &Arc<Engine>, name: &str, bytes: &[u8]) -> Result<Arc<Self>, Error> {
        let Admitted {
            about, compiled, ..
        } = admission::admit(engine, name, bytes)?;
        let (Some(descriptor), Compiled::Projection(compiled)) = (about.descriptor(), compiled)
        else {
            return Err(Problem::Policy(about.kind).of(name));
        };
        Ok(Arc::new(Program {
            name: name.to_owned(),
            hash: about.sha256.as_str().into(),
            about,
            descriptor: Arc::new(descriptor),
            compiled,
            engine: engine.clone(),
        }))
    }

    /// The same with other names for its views, which are in its own order.
    #[must_use]
    pub fn calling_views<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Arc<Self> {
        let mut descriptor = Descriptor::clone(&self.descriptor);
        for (view, name) in descriptor.views.iter_mut().zip(names) {
            view.name = name.into();
        }
        Arc::new(Program {
            descriptor: Arc::new(descriptor),
            ..self.clone()
        })
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

    /// What is known of the file.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// What it says of itself; its views have the names that this projection gives them.
    pub fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    pub(super) fn start(
        &self,
        limits: Limits,
        logs: Arc<Logs>,
        charge: Charge,
    ) -> Result<Instance, Unanswered> {
        Instance::start(&self.compiled, limits, logs, charge)
    }
}
