//! The compiler, and the clock that interrupts guests.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, WasmBacktraceDetails};

use super::account::{Account, MEMORY_BUDGET};
use super::error::Error;
use super::guest::Guest;
use super::tail::Tails;
use super::wasi;
use super::workshop::Workshop;
use super::{imports, pool};

/// How often a guest that runs is interrupted to look at its clock.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Compiles plugins and keeps time for them. One per process; the clock ends with it.
pub struct Engine {
    wasmtime: wasmtime::Engine,
    projections: Linker<Guest>,
    policies: Linker<Guest>,
    /// `None` compiles in this process.
    workshop: Option<Workshop>,
    tails: Tails,
    account: Arc<Account>,
    _ticker: Ticker,
}

/// A thread that advances the engine's epoch until its owner is dropped.
struct Ticker {
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Takes plugin files in this process. A file that the compiler does not stand ends it: for
    /// tests and tools, and files that are known.
    ///
    /// Fails where this machine cannot run Wasm at all.
    pub fn new() -> Result<Self, Error> {
        Engine::build(None, pooling().map_err(Error::engine)?)
    }

    /// Takes plugin files in child processes, whatever they are. Fails as [`Engine::new`] does.
    pub fn with_workshop(workshop: Workshop) -> Result<Self, Error> {
        Engine::build(Some(workshop), pooling().map_err(Error::engine)?)
    }

    /// Takes one plugin file in this process, whose memory has a limit that the pool would count
    /// against.
    pub(super) fn for_one_file() -> Result<Self, Error> {
        let wasmtime = wasmtime::Engine::new(&config()).map_err(Error::engine)?;
        Engine::build(None, wasmtime)
    }

    fn build(workshop: Option<Workshop>, wasmtime: wasmtime::Engine) -> Result<Self, Error> {
        let mut projections = Linker::new(&wasmtime);
        imports::add_host(&mut projections).map_err(Error::engine)?;
        imports::add_documents(&mut projections).map_err(Error::engine)?;
        // Routing policies import the same as placement policies.
        let mut policies = Linker::new(&wasmtime);
        imports::add_host(&mut policies).map_err(Error::engine)?;
        for linker in [&mut projections, &mut policies] {
            wasi::add_to_linker(linker).map_err(Error::engine)?;
        }
        let ticker = Ticker::start(wasmtime.clone()).map_err(|e| Error::engine(e.into()))?;
        Ok(Engine {
            wasmtime,
            projections,
            policies,
            workshop,
            tails: Tails::default(),
            account: Account::new(MEMORY_BUDGET),
            _ticker: ticker,
        })
    }

    /// Bounds the memory that all of its plugins can cause together; [`MEMORY_BUDGET`] otherwise.
    #[must_use]
    pub fn with_memory_budget(mut self, bytes_max: usize) -> Self {
        self.account = Account::new(bytes_max);
        self
    }

    /// What its plugins take of memory.
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The last lines that projections have logged.
    pub fn tails(&self) -> &Tails {
        &self.tails
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    pub(super) fn workshop(&self) -> Option<&Workshop> {
        self.workshop.as_ref()
    }

    /// Everything that a projection may import.
    pub(super) fn projections(&self) -> &Linker<Guest> {
        &self.projections
    }

    /// Everything that a policy may import.
    pub(super) fn policies(&self) -> &Linker<Guest> {
        &self.policies
    }
}

/// An engine whose instances start in places that are kept ready. The code that it runs is the
/// same as any other's.
fn pooling() -> wasmtime::Result<wasmtime::Engine> {
    let mut pooling = config();
    pooling.allocation_strategy(pool::strategy());
    wasmtime::Engine::new(&pooling).or_else(|error| {
        let engine = wasmtime::Engine::new(&config())?;
        tracing::warn!(
            "plugins start slower, for this system has no address space to keep for them (a limit \
             such as that of `ulimit -v`): {error:#}"
        );
        Ok(engine)
    })
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .parallel_compilation(true)
        .memory_init_cow(true);
    // The same events give the same documents on every processor.
    config
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    // A trap names the guest's functions; line numbers would keep its whole debug information.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

impl Ticker {
    fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("plugin-clock".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    engine.increment_epoch();
                }
            })?;
        Ok(Ticker {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .expect("the clock does nothing that can panic");
        }
    }
}
