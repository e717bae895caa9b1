//! Takes plugin files in a process of their own, and keeps the compiled code.
//!
//! Validating, componentising and compiling are programs of others that read what strangers wrote:
//! a file can make them recurse without end, or take all memory, or hours. In a child process that
//! ends the child.
//!
//! Guarantees:
//! - Whatever the bytes, the host lives. A child is killed when its time is over; its memory has a
//!   limit of the system's own; it leaves no core dump, and has no environment, so no secrets.
//! - At most [`CHILDREN_MAX`] children run at once; who waits for one does not wait for ever.
//! - The host loads compiled code from its own cache only (`cache`), where it is whole
//!   (`artefact`), and made by this build of the host from this very file.
//!
//! Not here: what is checked (`admission`).
//!
//! When something fails: a child that dies is a refusal of its file; whatever keeps the host from
//! asking a child is a [`Failure`].

mod artefact;
mod cache;
mod child;
mod process;
mod slots;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use wasmtime::component::Component;

use super::about::{About, sha256};
use super::contract;
use super::error::{Error, Problem};
use super::{module, wasi};

use cache::Cache;
use process::{Answer, Ended, Order};
use slots::Slots;

pub use child::compile_child;

/// Each may take as much memory as a child may have, and as many processors as there are.
const CHILDREN_MAX: usize = 2;

static CHILDREN: Slots = Slots::new(CHILDREN_MAX);

/// Where and how plugin files are compiled.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// The host's own binary.
    pub program: PathBuf,
    /// The directory for compiled code.
    pub cache: PathBuf,
    /// How long one file may take; also how long it may wait for its turn.
    pub time_max: Duration,
    /// What a child may have.
    pub memory_bytes_max: u64,
}

/// Why no child could be asked. Each is the host's fault or its surroundings', not the plugin's.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(
        "plugins.cache: {} {what}, so code in it could be another's; remove it, or name another \
         directory, which the host makes itself", .directory.display()
    )]
    Exposed { directory: PathBuf, what: String },
    #[error(
        "plugins.cache: {} cannot be used: {source}; name a directory that the host may write to",
        .directory.display()
    )]
    Cache {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{CHILDREN_MAX} other plugins are being compiled, and were not done within {}; try again",
        humantime::format_duration(*.0)
    )]
    Busy(Duration),
    #[error("cannot run a compiler process, {}: {source}", .program.display())]
    Process {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the compiler process failed: {0}")]
    Child(String),
}

impl Workshop {
    /// The binary that this process runs, also after its file was replaced. For the host itself:
    /// another program has no compiler to start.
    pub fn this_program() -> PathBuf {
        let link = PathBuf::from("/proc/self/exe");
        if link.exists() {
            return link;
        }
        std::env::current_exe().unwrap_or(link)
    }

    /// Takes a file through every check, by a child or by what an earlier one left.
    pub(super) fn admit(
        &self,
        engine: &wasmtime::Engine,
        name: &str,
        bytes: &[u8],
    ) -> Result<(About, Component), Error> {
        let failed = |failure: Failure| Error::Engine(failure.into());
        // No process needs to be started for a text file.
        module::check_kind(bytes).map_err(|problem| problem.of(name))?;
        let key = self.key(engine, bytes).map_err(failed)?;
        let cache = Cache::open(&self.cache).map_err(failed)?;
        if let Some(found) = kept(&cache, &key, engine).map_err(failed)? {
            return Ok(found);
        }
        let Some(_slot) = CHILDREN.take(self.time_max) else {
            return Err(failed(Failure::Busy(self.time_max)));
        };
        // Whoever had the place before may have compiled the same file.
        if let Some(found) = kept(&cache, &key, engine).map_err(failed)? {
            return Ok(found);
        }
        self.compile(&cache, &key, name, bytes)?;
        let made = kept(&cache, &key, engine).map_err(failed)?;
        made.ok_or_else(|| {
            let detail = "what it has written cannot be loaded".to_owned();
            failed(Failure::Child(detail))
        })
    }

    /// Leaves the code in the cache.
    fn compile(&self, cache: &Cache, key: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let failed = |failure: Failure| Error::Engine(failure.into());
        let draft = cache.draft().map_err(failed)?;
        let order = Order {
            program: &self.program,
            artefact: draft.path(),
            time_max: self.time_max,
            memory_bytes_max: self.memory_bytes_max,
        };
        let ended = process::run(&order, bytes).map_err(|source| {
            failed(Failure::Process {
                program: self.program.clone(),
                source,
            })
        })?;
        let problem = match ended {
            Ended::Answered(Answer::Taken) => return cache.keep(draft, key).map_err(failed),
            Ended::Answered(Answer::Refused(text)) => Problem::Found(text),
            Ended::Answered(Answer::Failed(text)) => return Err(failed(Failure::Child(text))),
            Ended::Answered(Answer::OutOfMemory) | Ended::OutOfMemory => {
                Problem::CompileMemory(self.memory_bytes_max)
            }
            Ended::TimedOut => Problem::CompileTime(self.time_max),
            Ended::Died(how) => Problem::CompilerDied(how),
            Ended::Strange(how) => return Err(failed(Failure::Child(how))),
        };
        Err(problem.of(name))
    }

    /// Names the code of a file as this build of the host compiles it. Another build may check
    /// otherwise, and another configuration of the engine could not load it.
    fn key(&self, engine: &wasmtime::Engine, bytes: &[u8]) -> Result<String, Failure> {
        let program = std::fs::metadata(&self.program)
            .and_then(|found| Ok((found.len(), found.modified()?)))
            .map_err(|source| Failure::Process {
                program: self.program.clone(),
                source,
            })?;
        let mut build = DefaultHasher::new();
        program.hash(&mut build);
        env!("CARGO_PKG_VERSION").hash(&mut build);
        contract::VERSION.hash(&mut build);
        wasi::ADAPTER.hash(&mut build);
        engine.precompile_compatibility_hash().hash(&mut build);
        Ok(format!("{}-{:016x}", sha256(bytes), build.finish()))
    }
}

/// What the cache has under a key, if it can be loaded.
#[expect(
    unsafe_code,
    reason = "the host loads code that it has compiled itself; wasmtime cannot tell it from another's"
)]
fn kept(
    cache: &Cache,
    key: &str,
    engine: &wasmtime::Engine,
) -> Result<Option<(About, Component)>, Failure> {
    let Some(artefact) = cache.get(key)? else {
        return Ok(None);
    };
    // A file that another build wrote under this name would be a chance of one in 2^64.
    if !key.starts_with(&artefact.about.sha256) {
        return Ok(None);
    }
    // SAFETY: the code must be what `Component::serialize` made, for it runs as it is, outside of
    // the sandbox. `Cache` gives only files of our own user, from a directory that nobody else can
    // write to, and only `compile` puts files there, which its child has written with that
    // function. `Artefact` is whole: its sum fits. The bytes are in our memory, so they do not
    // change any more. Code of another version or configuration of the engine is refused by
    // wasmtime.
    let component = unsafe { Component::deserialize(engine, artefact.code()) };
    Ok(component.ok().map(|component| (artefact.about, component)))
}
