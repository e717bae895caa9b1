//! A plugin as the pipeline sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::projection::{
    self, Batch, Descriptor, Documents, FaultKind, HostError, Output, Projector,
};

use super::account::{Account, Charge, Short, Turn};
use super::error::{Error, Problem};
use super::fault::{TEXT_BYTES_MAX, clip, fault};
use super::instance::{self, Instance, LastCall, TEXT_ROOM, Unanswered, given_bytes};
use super::limits::{ANSWER_BYTES_MAX, Limits, SpaceLimit};
use super::logs::Logs;
use super::output::{self, Question, Refusal};
use super::program::Program;
use super::purse::ANSWER_TIMES;
use super::schema;
use super::seat::Seat;

/// What a call may hand over at once where nothing is known of how much it wants. More is found
/// out by a second call.
const ROOM_FIRST: usize = 1 << 20;

/// A call may hand over so many times as much as the last one has, or as the batch brings.
const ROOM_TIMES: usize = 2;

/// What is made of an answer may be so many times what it may hand over.
const MADE_TIMES: usize = ANSWER_TIMES - 1;

/// How long a call waits for room, on its lane's thread. What is folded and not stored has room as
/// well, and is not stored meanwhile; so whoever asked tries again later.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a start waits for room: longer than any call takes.
const START_PATIENCE: Duration = Duration::from_secs(60);

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
    /// Configured. Empty after a failure, when it was worn out, or when others needed its room.
    seat: Arc<Seat>,
    last_call: LastCall,
    /// The most that the last batch has handed over at once, or what its answer came to.
    handed: usize,
    /// Where it stands among those for whom there was no room.
    turn: Option<Turn>,
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
            seat: Seat::new(program.engine().account()),
            program,
            name: name.into(),
            topics: Arc::default(),
            config: config.to_string(),
            limits,
            logs: Arc::new(logs),
            last_call: LastCall::default(),
            handed: 0,
            turn: None,
        };
        let mut instance = projection.first().map_err(|error| {
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
                StartError::Short(short) => Error::Engine(short.into()),
                StartError::Declined(text) => Error::configuration(plugin, name, text),
            }
        })?;
        instance.settle();
        projection.seat.put(instance);
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
        drop(self.seat.take());
    }

    /// The first instance, after a wait for room where there is none now.
    fn first(&mut self) -> Result<Instance, StartError> {
        let most = self.limits.cost_max(self.config.len());
        let mut charge = self.account().charge();
        let patience = Instant::now() + START_PATIENCE;
        loop {
            let short = match self.start(charge) {
                Err(StartError::Short(short)) => short,
                started => {
                    self.turn = None;
                    return started;
                }
            };
            let mut waited = self.wait(short, most);
            while let (Err(projection::Error::Host(_)), Some(turn)) = (&waited, &mut self.turn)
                && Instant::now() < patience
            {
                waited = turn.wait(PATIENCE).ok_or_else(|| no_room().into());
            }
            charge = waited.map_err(StartError::Start)?;
        }
    }

    fn start(&self, charge: Charge) -> Result<Instance, StartError> {
        let start = |unanswered: Unanswered| match unanswered {
            Unanswered::Short(short) => StartError::Short(short),
            other => StartError::Start(other.end(TEXT_ROOM)),
        };
        let configure = |unanswered: Unanswered| match unanswered {
            Unanswered::Short(short) => StartError::Short(short),
            other => StartError::Configure(other.end(TEXT_ROOM)),
        };
        let mut instance = self
            .program
            .start(self.limits, self.logs.clone(), charge)
            .map_err(start)?;
        instance
            .configure(&self.config)
            .map_err(configure)?
            .map_err(|text| StartError::Declined(clip(&text, TEXT_BYTES_MAX).to_owned()))?;
        Ok(instance)
    }

    /// Waits for room after a call that had too little.
    fn wait(&mut self, short: Short, most: usize) -> Result<Charge, projection::Error> {
        let account = Arc::clone(self.account());
        let turn = match &mut self.turn {
            Some(turn) => {
                if !turn.queue_up(short, most) {
                    // With nobody else in its way.
                    return Err(alone(short, most.min(account.call_max())).into());
                }
                turn
            }
            empty @ None => empty.insert(account.queue_up(short, most)),
        };
        let waited = turn.wait(PATIENCE);
        waited.ok_or_else(|| HostError::NoRoom(short.into()).into())
    }

    fn account(&self) -> &Arc<Account> {
        self.program.engine().account()
    }

    /// One try, with an instance that was there or a new one.
    fn attempt(
        &self,
        batch: Batch<'_>,
        documents: &mut Option<Box<dyn Documents>>,
        room: usize,
        charge: Option<Charge>,
    ) -> Result<Attempt, Unanswered> {
        let mut instance = match (self.seat.take(), charge) {
            (Some(mut instance), Some(charge)) => {
                instance.fund(charge);
                instance
            }
            (Some(instance), None) => instance,
            (None, charge) => {
                let charge = charge.unwrap_or_else(|| self.account().charge());
                // It has started before, with the same configuration: the batch is not at fault.
                self.start(charge).map_err(|error| match error {
                    StartError::Short(short) => Unanswered::Short(short),
                    other => Unanswered::Ended(HostError::Engine(other.into()).into()),
                })?
            }
        };
        let descriptor = self.program.descriptor();
        let question = instance::Question {
            batch,
            descriptor,
            room,
        };
        let answer = instance.project(&question, documents)?;
        let question = Question {
            descriptor,
            events: batch.events,
            writes_max: self.limits.documents(batch.events.len()),
            messages_max: self.limits.messages(batch.events.len()),
            bytes_max: room * MADE_TIMES,
            projection: &self.name,
            topics: &self.topics,
        };
        let checked = match output::check(&answer, &question) {
            Ok(checked) => Ok(checked),
            Err(Refusal::TooMuch) => return Err(Unanswered::TooMuch),
            Err(Refusal::Fault(fault)) => Err(fault),
        };
        Ok(Attempt {
            handed: instance.handed().max(output::lifted_bytes(&answer)),
            instance,
            checked,
        })
    }

    /// Takes an attempt over that has an answer.
    fn take_over(&mut self, attempt: Attempt) -> Result<Output, projection::Error> {
        let Attempt {
            mut instance,
            handed,
            checked,
        } = attempt;
        self.turn = None;
        self.handed = handed;
        self.last_call = instance.last_call();
        match checked {
            Ok(mut output) => {
                let made = output::made_bytes(&output);
                self.handed = self.handed.max(made / MADE_TIMES);
                output.held = instance.hold(made);
                instance.settle();
                if !instance.is_worn() {
                    self.seat.put(instance);
                }
                Ok(output)
            }
            Err(mut fault) => {
                if let Some(rest) = &mut fault.rest {
                    rest.held = instance.hold(output::made_bytes(rest));
                }
                Err(fault.into())
            }
        }
    }
}

/// A call that came back.
struct Attempt {
    instance: Instance,
    /// The most that it handed over at once.
    handed: usize,
    checked: Result<Output, projection::Fault>,
}

impl Projector for Projection {
    fn descriptor(&self) -> &Arc<Descriptor> {
        self.program.descriptor()
    }

    fn plugin_hash(&self) -> &Arc<str> {
        self.program.hash()
    }

    /// Where it finds no room, it waits a little, without blame, and then ends with a
    /// [`HostError`]: whoever called tries again, and finds its place kept.
    fn project(
        &mut self,
        batch: Batch<'_>,
        documents: Box<dyn Documents>,
    ) -> Result<Output, projection::Error> {
        let mut documents = Some(documents);
        let given = given_bytes(batch.events, self.descriptor().headers.len());
        let most = self.limits.cost_max(given);
        let wanted = ROOM_TIMES * self.handed.max(given);
        let mut room = wanted.clamp(ROOM_FIRST, ANSWER_BYTES_MAX);
        let mut charge = None;
        if let Some(turn) = &mut self.turn {
            charge = Some(turn.wait(PATIENCE).ok_or_else(no_room)?);
        }
        loop {
            let short = match self.attempt(batch, &mut documents, room, charge) {
                Ok(attempt) => return self.take_over(attempt),
                Err(Unanswered::TooMuch) if room < ANSWER_BYTES_MAX => {
                    room = ANSWER_BYTES_MAX;
                    // What it had been granted is gone with the attempt; without it, it would be
                    // short because of others, and be blamed for it.
                    charge = None;
                    if let Some(turn) = &mut self.turn {
                        // Known also where it has to come again.
                        self.handed = room / ROOM_TIMES;
                        charge = Some(turn.wait(PATIENCE).ok_or_else(no_room)?);
                    }
                    continue;
                }
                Err(Unanswered::Short(short)) => short,
                Err(unanswered @ (Unanswered::TooMuch | Unanswered::Ended(_))) => {
                    self.turn = None;
                    return Err(unanswered.end(room));
                }
            };
            charge = Some(self.wait(short, most)?);
        }
    }
}

/// It wants more than any call of it can have.
fn alone(short: Short, limit: usize) -> projection::Fault {
    let wanted = short.wanted;
    let limit = SpaceLimit::Budget { wanted, limit };
    fault(FaultKind::Memory, limit.to_string(), None)
}

fn no_room() -> HostError {
    let reason = "plugins have all the memory that they may have together \
                  (plugins.memory-budget), and this one waits for its turn";
    HostError::NoRoom(reason.into())
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
    #[error(transparent)]
    Short(Short),
}
