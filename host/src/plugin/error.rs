//! Why a plugin is not taken.

use std::time::Duration;

use bytesize::ByteSize;

use super::kind::Kind;
use super::module::MODULE_BYTES_MAX;

/// Why a plugin does not run. What goes wrong later, in a batch, is a
/// [`projection::Error`](crate::projection::Error); in a pick, a [`policy::Fault`](crate::policy::Fault).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is at fault, whatever the configuration; another one is needed.
    #[error("plugin \"{plugin}\" {problem}")]
    Refused { plugin: String, problem: Problem },
    /// The plugin does not take the configuration that there is for it.
    #[error("plugin \"{plugin}\" does not take the configuration of {whose}: {detail}")]
    Configuration {
        plugin: String,
        /// With its kind, as in `projection "orders"`.
        whose: String,
        /// Where it breaks the plugin's schema, the plugin's own words, or how it ended.
        detail: String,
    },
    /// The host's own failure, or that of its surroundings.
    #[error("the plugin engine failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is wrong with a plugin's file, and the way out. Reads on from the plugin's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("is an empty file; build it again")]
    Empty,
    #[error("has {}, and this host takes at most {}; build it without debug information (strip = true)", ByteSize::b(*.0), ByteSize::b(MODULE_BYTES_MAX as u64))]
    TooLarge(u64),
    #[error("has more than {}, which is the most that this host takes; give the .wasm file that the build made", ByteSize::b(MODULE_BYTES_MAX as u64))]
    Endless,
    #[error(
        "is {0}, which would run as it is, outside of the sandbox; give the .wasm file that it was made from"
    )]
    Precompiled(&'static str),
    #[error("is not Wasm: it starts with {0}; give the .wasm file that the build made")]
    NotWasm(String),
    #[error("is not valid Wasm: {0}")]
    Invalid(String),
    #[error(
        "is a core module that does not say which interfaces it implements; build it with the plugin SDK or with wit-bindgen, and do not strip the section \"component-type\""
    )]
    NoMetadata,
    #[error(
        "has interfaces of several packages in its section \"component-type\", {0} and {1}; build it for a world of wit/plugin.wit, without imports and exports of others"
    )]
    Packages(String, String),
    #[error("cannot be made a component: {0}")]
    Componentize(String),
    #[error("imports {0}, which this host does not offer; plugins may import {offered} and nothing else", offered = super::contract::OFFERED)]
    Import(String),
    #[error(
        "imports {0}, and this host offers no WASI: a plugin has no files, clocks, network or random numbers; build it for wasm32-unknown-unknown, or with the option of your toolchain that leaves WASI out (JavaScript: disableFeatures, Python: --stub-wasi)"
    )]
    Wasi(String),
    #[error(
        "imports {0}, which no linker found; link the library that defines it, or leave out what needs it"
    )]
    Unresolved(String),
    #[error("{does} {name}, and this host speaks version {VERSION}.x of the contract; build it with the SDK of that version", VERSION = super::contract::VERSION)]
    Version { does: &'static str, name: String },
    #[error("is a {0}, not a projection; name it where the configuration asks for a policy")]
    Policy(Kind),
    #[error("is a {found}, not a {wanted}; name a {wanted} here")]
    OtherKind { found: Kind, wanted: Kind },
    #[error(
        "is a {0} and imports {1}, which projections alone may; a policy may import \"host\" and nothing else"
    )]
    ImportOfPolicy(Kind, String),
    #[error("exports both {0} and {1}; a plugin is one of them")]
    Ambiguous(String, String),
    #[error("is no plugin: it exports {found}, and not \"projection\", \"placement\" or \"routing\" of projectionist:plugin@{VERSION}.x; build it with the plugin SDK, or for a world of wit/plugin.wit", VERSION = super::contract::VERSION)]
    NoPlugin { found: String },
    #[error("does not fit the contract: {0}")]
    Mismatch(String),
    #[error("is not compiled after {}, and this host gives it no longer; build it smaller (optimised, without debug information), or raise plugins.compile-timeout", humantime::format_duration(*.0))]
    CompileTime(Duration),
    #[error("takes more than {} of memory to compile, and this host gives it no more; build it smaller (optimised, without debug information), or raise plugins.compile-memory", ByteSize::b(*.0))]
    CompileMemory(u64),
    #[error(
        "ended the process that compiled it ({0}), which the host has survived; build it again, and if that does not help, report the file as a fault of the compiler"
    )]
    CompilerDied(String),
    /// In the words of the process that has looked at the file.
    #[error("{0}")]
    Found(String),
    #[error("cannot start: {0}")]
    Start(String),
    #[error("cannot describe itself: {0}")]
    Describe(String),
    #[error("describes itself wrongly: {0}")]
    Descriptor(String),
}

impl Error {
    /// Of the configuration of a projection.
    pub fn configuration(plugin: &str, projection: &str, detail: String) -> Self {
        Error::Configuration {
            plugin: plugin.to_owned(),
            whose: format!("projection \"{projection}\""),
            detail,
        }
    }

    pub(super) fn engine(error: wasmtime::Error) -> Self {
        Error::Engine(error.into_boxed_dyn_error())
    }
}

impl Problem {
    pub(super) fn of(self, plugin: &str) -> Error {
        Error::Refused {
            plugin: plugin.to_owned(),
            problem: self,
        }
    }
}
