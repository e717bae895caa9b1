//! Write Projectionist plugins in Rust: projections, and policies that balance ([`policy`]).
//!
//! A projection folds events into documents. Its author writes the types of both and the function
//! from one to the other; this crate does the rest of the contract in `wit/plugin.wit`: it decodes
//! events and documents, asks the host for all documents of a batch at once, folds the events in
//! order and hands each changed document back once.
//!
//! # A first projection
//!
//! ```
//! use projectionist_sdk::{Event, NoConfig, Projection, Reject, export};
//! use serde::{Deserialize, Serialize};
//!
//! /// An event: the value of a Kafka record, whose key is the account's number.
//! #[derive(Deserialize)]
//! struct Payment {
//!     cents: i64,
//! }
//!
//! /// A document: one for each account.
//! #[derive(Default, Serialize, Deserialize)]
//! struct Account {
//!     payments: u64,
//!     cents: i64,
//! }
//!
//! struct Accounts;
//!
//! impl Projection for Accounts {
//!     const NAME: &str = "accounts";
//!     const VERSION: &str = env!("CARGO_PKG_VERSION");
//!     const VIEW: &str = "accounts";
//!     type Config = NoConfig;
//!     type Event<'a> = Payment;
//!     type Document = Account;
//!
//!     fn new(_: NoConfig) -> Result<Self, String> {
//!         Ok(Accounts)
//!     }
//!
//!     fn fold(
//!         &self,
//!         event: &Event<Payment>,
//!         _id: &str,
//!         account: &mut Option<Account>,
//!     ) -> Result<(), Reject> {
//!         let Some(payment) = &event.value else {
//!             *account = None; // a tombstone closes the account
//!             return Ok(());
//!         };
//!         let account = account.get_or_insert_default();
//!         account.payments += 1;
//!         account.cents += payment.cents;
//!         Ok(())
//!     }
//! }
//!
//! export!(Accounts);
//! # fn main() {}
//! ```
//!
//! The crate is a `cdylib` and is built by `cargo build --release --target
//! wasm32-unknown-unknown`. The resulting file is what `plugin = "…"` in the host's config file
//! names; the host makes a component of it.
//!
//! # Documents of another id than the key
//!
//! A document's id is its event's key unless [`Projection::ids`] says otherwise. One event may
//! then touch several documents, and [`Projection::fold`] is called for each. Such a view is
//! [`Ownership::Shared`]: events of several partitions meet in one document, in no fixed order,
//! so what is folded must not depend on it (counts, sums, extremes).
//!
//! # Messages
//!
//! A fold may send messages to Kafka: [`Event::send`]. They are stored together with the documents
//! and sent afterwards, so an event's documents and its messages are there both or not at all.
//! The host sends to topics that the projection's configuration lists:
//! `messages = { topics = ["payments"] }`.
//!
//! ```
//! # use projectionist_sdk::{Event, Message, NoConfig, Projection, Reject};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Deserialize)]
//! # struct Placed { cents: i64 }
//! # #[derive(Default, Serialize, Deserialize)]
//! # struct Order { state: String }
//! # struct Orders;
//! # impl Projection for Orders {
//! #     const NAME: &str = "orders";
//! #     const VERSION: &str = "1";
//! #     const VIEW: &str = "orders";
//! #     type Config = NoConfig;
//! #     type Event<'a> = Placed;
//! #     type Document = Order;
//! #     fn new(_: NoConfig) -> Result<Self, String> { Ok(Orders) }
//! fn fold(
//!     &self,
//!     event: &Event<Placed>,
//!     id: &str,
//!     order: &mut Option<Order>,
//! ) -> Result<(), Reject> {
//!     let Some(placed) = &event.value else {
//!         return Ok(());
//!     };
//!     order.get_or_insert_default().state = "awaits its payment".to_owned();
//!     let request = serde_json::json!({"order": id, "cents": placed.cents});
//!     event.send(Message::to("payments").key(id).json(&request)?);
//!     Ok(())
//! }
//! # }
//! # use projectionist_sdk::testing::{Harness, Record};
//! # let mut orders = Harness::<Orders>::new("{}").unwrap();
//! # orders.project([Record::json("o-1", &serde_json::json!({"cents": 5}))]).unwrap();
//! # assert_eq!(orders.take_messages().len(), 1);
//! ```
//!
//! # Events that cannot be folded
//!
//! A value that does not decode, a [`Reject`] and a panic are all the event's fault, as far as the
//! host can tell: it stores the events before, and sets this one aside or stops, as it is
//! configured. A panic's text and place are in the plugin's log.
//!
//! # Borrowing from the event
//!
//! Text in an event need not be copied: with `type Event<'a> = Payment<'a>`, declare it as
//! `#[serde(borrow)] Cow<'a, str>`. A `&'a str` would do for most events, but JSON text with an
//! escape in it has no such slice, and the event would be rejected.
//!
//! # Documents in BSON
//!
//! With `const ENCODING: Encoding = Encoding::Bson`, documents go to the host and back in the form
//! in which they are stored. They are the same documents; where small ones change often, the
//! fold takes about 40% less time. What only JSON text can say does not work
//! then: MongoDB's extended JSON (`{"$date": …}`), and serde_json's `RawValue`.
//!
//! # Caveats
//!
//! - A plugin has no clock, no random source, no files and no network. Time is in the events.
//! - Numbers in documents are 64-bit integers or doubles.
//! - A projection has one view. The contract allows several.

#[doc(hidden)]
pub mod bindings;
mod bson;
mod column;
mod encoding;
mod event;
mod fold;
#[doc(hidden)]
pub mod guest;
pub mod host;
mod ids;
mod message;
#[doc(hidden)]
pub mod policies;
pub mod policy;
mod projection;
mod repeats;
pub mod testing;

#[cfg(test)]
mod tests;

pub use event::Event;
pub use ids::Ids;
pub use message::Message;
pub use projection::{Encoding, NoConfig, Ownership, Projection, Reject};

/// Makes a plugin of a [`Projection`]: one per crate.
#[macro_export]
macro_rules! export {
    ($projection:ty) => {
        const _: () = {
            use $crate::bindings::exports::projectionist::plugin::projection as contract;

            ::std::thread_local! {
                static CONFIGURED: $crate::guest::Configured<$projection> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            struct Plugin;

            impl contract::Guest for Plugin {
                fn describe() -> contract::Descriptor {
                    $crate::guest::describe::<$projection>()
                }

                fn configure(
                    config: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    CONFIGURED.with(|slot| $crate::guest::configure(slot, &config))
                }

                fn project(
                    batch: contract::Batch,
                ) -> ::std::result::Result<contract::Output, ::std::string::String> {
                    CONFIGURED.with(|slot| $crate::guest::project(slot, &batch))
                }
            }

            // Without a caller the compiler would take the whole plugin for dead code.
            #[cfg(not(target_family = "wasm"))]
            const _: fn() -> contract::Descriptor = <Plugin as contract::Guest>::describe;

            // Only where a host is there to call them: natively, in tests, the symbols of two
            // plugins in one program would clash.
            #[cfg(target_family = "wasm")]
            $crate::bindings::export_projection! { Plugin with_types_in $crate::bindings }
        };
    };
}
