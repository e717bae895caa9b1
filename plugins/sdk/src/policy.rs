//! Policies: who answers a read, and where keys live.
//!
//! A [`Routing`] policy is asked for each read which copy of a store answers it; a [`Placement`]
//! policy is asked about once a second on which lane each slot of keys is folded. Both express a
//! preference. The host checks each answer, keeps events in order and documents exact whatever is
//! answered, and goes on without a policy that traps, stalls, refuses or answers nonsense, until a
//! new instance of it works.
//!
//! ```
//! use projectionist_sdk::NoConfig;
//! use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
//!
//! /// Asks whoever has answered fastest so far.
//! struct Fastest;
//!
//! impl Routing for Fastest {
//!     const NAME: &str = "fastest";
//!     const VERSION: &str = env!("CARGO_PKG_VERSION");
//!     type Config = NoConfig;
//!
//!     fn new(_: NoConfig) -> Result<Self, String> {
//!         Ok(Fastest)
//!     }
//!
//!     fn pick(&mut self, _: &Request, eligible: &[Target]) -> Result<TargetId, String> {
//!         let fastest = eligible.iter().min_by_key(|target| target.latency_us);
//!         Ok(fastest.ok_or("nobody is eligible")?.id)
//!     }
//! }
//!
//! projectionist_sdk::export_routing!(Fastest);
//! # fn main() {
//! # let mut policy: Fastest = projectionist_sdk::testing::routing("{}").unwrap();
//! # let mut targets = [Target::new(1, "a", 1), Target::new(2, "b", 1)];
//! # targets[0].latency_us = 9;
//! # let request = Request { key: vec![], client: String::new(), tried: vec![] };
//! # assert_eq!(policy.pick(&request, &targets), Ok(2));
//! # }
//! ```
//!
//! # Caveats
//!
//! - A policy has no clock and no random source. What it remembers lives as long as the instance,
//!   which the host may replace at any time; hosts do not share it.
//! - A pick has 5 ms, and every read waits for it: keep it to microseconds.
//! - A target's `id` is its identity. Its place in the list is not: a target that is ejected or
//!   behind is left out, and the others move up.

use serde::de::DeserializeOwned;

pub use crate::bindings::placement::exports::projectionist::plugin::placement::Snapshot;
pub use crate::bindings::placement::projectionist::plugin::balancing::{Target, TargetId};
pub use crate::bindings::routing::exports::projectionist::plugin::routing::Request;

/// Says who answers a read.
pub trait Routing: Sized + 'static {
    /// Names the plugin in messages and metrics.
    const NAME: &'static str;
    /// The plugin's own version; most take `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// What it does, for people: a line or two.
    const DESCRIPTION: &'static str = "";
    /// JSON Schema of [`Config`](Self::Config), which the host holds the configuration against.
    const CONFIG_SCHEMA: &'static str = "";

    /// The policy's configuration; [`NoConfig`](crate::NoConfig) takes none.
    type Config: DeserializeOwned;

    /// Makes the policy from its configuration.
    ///
    /// # Errors
    /// What is wrong with the configuration, for whoever wrote it.
    fn new(config: Self::Config) -> Result<Self, String>;

    /// Picks one of `eligible`: the targets that are healthy and fresh enough for this request,
    /// without those that it has failed on, unless nothing else is left. Never empty.
    ///
    /// # Errors
    /// Why it cannot pick. The host takes that for a fault, and picks by itself for a while.
    fn pick(&mut self, request: &Request, eligible: &[Target]) -> Result<TargetId, String>;

    /// Hears how a pick went; successes and failures both.
    fn observe(&mut self, _target: TargetId, _latency_us: u32, _ok: bool) {}
}

/// Says where keys live.
pub trait Placement: Sized + 'static {
    /// Names the plugin in messages and metrics.
    const NAME: &'static str;
    /// The plugin's own version; most take `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// What it does, for people: a line or two.
    const DESCRIPTION: &'static str = "";
    /// JSON Schema of [`Config`](Self::Config), which the host holds the configuration against.
    const CONFIG_SCHEMA: &'static str = "";

    /// The policy's configuration; [`NoConfig`](crate::NoConfig) takes none.
    type Config: DeserializeOwned;

    /// Makes the policy from its configuration.
    ///
    /// # Errors
    /// What is wrong with the configuration, for whoever wrote it.
    fn new(config: Self::Config) -> Result<Self, String>;

    /// One target for each slot. The host moves `snapshot.move_budget` slots at most, those with
    /// the most work first.
    ///
    /// # Errors
    /// Why it cannot place. The host takes that for a fault, and keeps the table as it is.
    fn place(&mut self, snapshot: &Snapshot) -> Result<Vec<TargetId>, String>;
}

impl Target {
    /// One that has not done anything yet, for tests.
    pub fn new(id: TargetId, name: &str, weight: u32) -> Self {
        Target {
            id,
            name: name.to_owned(),
            weight,
            in_flight: 0,
            latency_us: 0,
            served: 0,
            failed: 0,
            cpu_permille: 0,
        }
    }
}

/// Makes a plugin of a [`Routing`] policy: one per crate.
#[macro_export]
macro_rules! export_routing {
    ($policy:ty) => {
        const _: () = {
            use $crate::bindings::routing::exports::projectionist::plugin::routing as contract;

            ::std::thread_local! {
                static CONFIGURED: $crate::policies::Configured<$policy> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            struct Plugin;

            impl contract::Guest for Plugin {
                fn describe() -> contract::Policy {
                    $crate::policies::describe_routing::<$policy>()
                }

                fn configure(
                    config: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    CONFIGURED.with(|slot| $crate::policies::configure_routing(slot, &config))
                }

                fn pick(
                    request: contract::Request,
                    eligible: ::std::vec::Vec<contract::Target>,
                ) -> ::std::result::Result<contract::TargetId, ::std::string::String> {
                    CONFIGURED.with(|slot| $crate::policies::pick(slot, &request, &eligible))
                }

                fn observe(target: contract::TargetId, latency_us: u32, ok: bool) {
                    CONFIGURED.with(|slot| $crate::policies::observe(slot, target, latency_us, ok));
                }
            }

            // Without a caller the compiler would take the whole plugin for dead code.
            #[cfg(not(target_family = "wasm"))]
            const _: fn() -> contract::Policy = <Plugin as contract::Guest>::describe;

            // Only where a host is there to call them: natively, in tests, the symbols of two
            // plugins in one program would clash.
            #[cfg(target_family = "wasm")]
            $crate::bindings::routing::export_routing_policy! {
                Plugin with_types_in $crate::bindings::routing
            }
        };
    };
}

/// Makes a plugin of a [`Placement`] policy: one per crate.
#[macro_export]
macro_rules! export_placement {
    ($policy:ty) => {
        const _: () = {
            use $crate::bindings::placement::exports::projectionist::plugin::placement as contract;

            ::std::thread_local! {
                static CONFIGURED: $crate::policies::Configured<$policy> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            struct Plugin;

            impl contract::Guest for Plugin {
                fn describe() -> contract::Policy {
                    $crate::policies::describe_placement::<$policy>()
                }

                fn configure(
                    config: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    CONFIGURED.with(|slot| $crate::policies::configure_placement(slot, &config))
                }

                fn place(
                    snapshot: contract::Snapshot,
                ) -> ::std::result::Result<
                    ::std::vec::Vec<contract::TargetId>,
                    ::std::string::String,
                > {
                    CONFIGURED.with(|slot| $crate::policies::place(slot, &snapshot))
                }
            }

            // Without a caller the compiler would take the whole plugin for dead code.
            #[cfg(not(target_family = "wasm"))]
            const _: fn() -> contract::Policy = <Plugin as contract::Guest>::describe;

            // Only where a host is there to call them: natively, in tests, the symbols of two
            // plugins in one program would clash.
            #[cfg(target_family = "wasm")]
            $crate::bindings::placement::export_placement_policy! {
                Plugin with_types_in $crate::bindings::placement
            }
        };
    };
}
