//! Reads an event's fields without changing them: what the shipped projections share.
//!
//! - [`Object`]: a JSON object whose values are kept as their text, so that a number of any length
//!   passes through as it is.
//! - [`Pointer`]: the way to a value in it (RFC 6901).
//! - [`Shape`]: which fields a document keeps, and under which names.
//! - [`check_name`]: what a field of a document may be called.
//! - [`Separator`]: a document's id of several values.
//!
//! Not here: what any of it means for a document; that is each projection's own.

mod id;
mod name;
mod object;
mod pointer;
mod shape;

pub use id::{Separator, scalar_text};
pub use name::check_name;
pub use object::{Object, kind};
pub use pointer::Pointer;
pub use shape::Shape;
