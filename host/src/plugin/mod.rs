//! Admits plugins, which are Wasm components, and runs them: the only user of wasmtime.
//!
//! - An [`Engine`] runs plugins and keeps time for them. There is one in a process.
//! - A [`Workshop`] takes files and compiles them, in processes of their own. An engine without
//!   one does it itself.
//! - [`examine`] takes a plugin file of any [`Kind`] through every check and tells what it is: an
//!   [`About`].
//! - A [`Program`] is the file of a projection that has passed: compiled, ready to start.
//! - A [`Projection`] is a program with its configuration: what the pipeline calls, as a
//!   [`Projector`](crate::projection::Projector). Each lane has its own.
//! - A [`Policy`] is the file of a policy that has passed; a [`Routing`] or a [`Placement`] is one
//!   with its configuration, of which `balance` starts instances.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use projectionist::plugin::{Engine, Limits, Program, Projection, Workshop};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Arc::new(Engine::with_workshop(Workshop {
//!     program: Workshop::this_program(),
//!     cache: "/var/cache/projectionist/plugins".into(),
//!     time_max: Duration::from_secs(60),
//!     memory_bytes_max: 1 << 30,
//! })?);
//! let program = Program::load(&engine, "orders.wasm", &std::fs::read("orders.wasm")?)?;
//! let config = serde_json::json!({"currency": "EUR"});
//! let projection = Projection::new(program, "orders", &config, Limits::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! Guarantees:
//! - A plugin reaches nothing but what `wit/plugin.wit` offers it: no file, clock, socket or
//!   random source exists for it to import.
//! - It ends: its own time, memory, tables, stack, answer and log are bounded ([`Limits`]).
//! - All of them together cause no more memory of the host than the engine's budget, which is
//!   charged before anything is allocated. Whoever finds no room waits, and is not blamed.
//! - It is a function of the events, the documents and its configuration: whatever an instance
//!   remembers of a batch that failed is dropped with the instance.
//! - What it did wrong is a [`Fault`](crate::projection::Fault); what failed around it, a
//!   [`HostError`](crate::projection::HostError).
//!
//! Not here: where plugin files come from, retries, and what becomes of an event at fault
//! (`pipeline`).

mod about;
mod account;
mod admission;
mod bindings;
mod clock;
mod columns;
mod contract;
mod descriptor;
mod documents;
mod engine;
mod error;
mod fault;
mod file;
mod guest;
mod imports;
mod instance;
mod kind;
mod language;
mod limits;
mod logs;
mod module;
mod output;
mod placement;
mod policy;
mod pool;
mod program;
mod projector;
mod purse;
mod routing;
mod schema;
mod seat;
mod tail;
mod wasi;
mod workshop;

pub use about::{About, AboutProjection, AboutView};
pub use account::{MEMORY_BUDGET, budget_for};
pub use admission::examine;
pub use engine::Engine;
pub use error::{Error, Problem};
pub use file::{Unread, read_file};
pub use instance::{LastCall, given_bytes_max};
pub use kind::Kind;
pub use limits::{Limits, TABLE_ELEMENTS_MAX};
pub use module::MODULE_BYTES_MAX;
pub use placement::Placement;
pub use policy::Policy;
pub use program::Program;
pub use projector::Projection;
pub use routing::{PICK_TIME_MAX, Routing};
pub use tail::{LINES_MAX, Line, Tail, Tails};
pub use workshop::{Failure, Workshop, compile_child};
