//! A plugin as the pipeline sees it.

use std::sync::Arc;

use crate::projection::{self, Batch, Descriptor, Documents, HostError, Output, Projector};

use super::error::{Error, Problem};
use super::instance::{Instance, LastCall};
use super::limits::Limits;
use super::logs::Logs;
use super::output::{self, Question};
use super::program::Program;
use super::schema;

/// A program with its configuration, and the instance that runs it.
///
/// An instance that failed in any way is dropped, and with it whatever it remembers of the
/// batch; the next call starts another one.
pub struct Projection {
    program: Arc<Program>,
    /// The projection's.
    name: Arc<str>,
    /// That it may send messages to.
    topics: Arc<[Arc<str>]>,
    /// JSON.
    config: String,
    limits: Limits,
    logs: Arc<Logs>,
    /// Configured. `None` after a failure, or when it was worn out.
    instance: Option<Instance>,
    last_call: LastCall,
}

impl Projection {
    /// Holds the configuration against the plugin's schema, then starts and configures a first
    /// instance. `name` is the projection's.
    pub fn new(
        program: Arc<Program>,
        name: &str,
        config: &serde_json::Value,
        limits: Limits,
    ) -> Result<Self, Error> {
        schema::check(&program.descriptor().config_schema, config)
            .map_err(|problems| Error::configuration(program.name(), name, problems))?;
        let logs = Logs::new(name).kept_in(program.engine().tails().of(name));
        let mut projection = Projection {
            program,
            name: name.into(),
            topics: Arc::default(),
            config: config.to_string(),
            limits,
            logs: Arc::new(logs),
            instance: None,
            last_call: LastCall::default(),
        };
        let instance = projection.start().map_err(|error| {
            let plugin = projection.program.name();
            match error {
                StartError::Start(projection::Error::Fault(fault)) => {
                    Problem::Start(fault.to_string()).of(plugin)
                }
                StartError::Configure(projection::Error::Fault(fault)) => {
                    Error::configuration(plugin, name, fault.to_string())
                }
                StartError::Start(projection::Error::Host(error))
                | StartError::Configure(projection::Error::Host(error)) => {
                    Error::Engine(error.into())
                }
                StartError::Declined(text) => Error::configuration(plugin, name, text),
            }
        })?;
        projection.instance = Some(instance);
        Ok(projection)
    }

    /// Lets it send messages to these topics; without, to none.
    #[must_use]
    pub fn sending_to(mut self, topics: Arc<[Arc<str>]>) -> Self {
        self.topics = topics;
        self
    }

    /// What the last batch that was answered has taken.
    pub fn last_call(&self) -> LastCall {
        self.last_call
    }

    /// Ends the instance; the next call starts another one.
    pub fn renew(&mut self) {
        self.instance = None;
    }

    fn start(&self) -> Result<Instance, StartError> {
        let mut instance = self
            .program
            .start(self.limits, self.logs.clone())
            .map_err(StartError::Start)?;
        instance
            .configure(&self.config)
            .map_err(StartError::Configure)?
            .map_err(StartError::Declined)?;
        Ok(instance)
    }
}

impl Projector for Projection {
    fn descriptor(&self) -> &Arc<Descriptor> {
        self.program.descriptor()
    }

    fn plugin_hash(&self) -> &Arc<str> {
        self.program.hash()
    }

    fn project(
        &mut self,
        batch: Batch<'_>,
        documents: Box<dyn Documents>,
    ) -> Result<Output, projection::Error> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            // It has started before, with the same configuration: the batch is not at fault.
            None => self
                .start()
                .map_err(|error| HostError::Engine(error.into()))?,
        };
        let descriptor = self.program.descriptor();
        let answer = instance.project(batch, descriptor, documents)?;
        self.last_call = instance.last_call();
        let question = Question {
            descriptor,
            events: batch.events,
            writes_max: self.limits.documents(batch.events.len()),
            messages_max: self.limits.messages(batch.events.len()),
            projection: &self.name,
            topics: &self.topics,
        };
        let output = output::check(&answer, &question)?;
        if !instance.is_worn() {
            self.instance = Some(instance);
        }
        Ok(output)
    }
}

/// Why an instance did not come up.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("it does not start")]
    Start(#[source] projection::Error),
    #[error("it does not come back from its configuration")]
    Configure(#[source] projection::Error),
    #[error("it does not take its configuration any more: {0}")]
    Declined(String),
}
