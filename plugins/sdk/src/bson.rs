//! Documents as BSON: what [`Encoding::Bson`](crate::Encoding) reads and writes.
//!
//! The same shape as in JSON: whole numbers become 64-bit integers, other numbers doubles, an
//! absent value null, bytes binary. So a projection may change its encoding and go on with the
//! documents it has. What a type writes for people to read, it writes here as well.
//!
//! Guarantee: [`read`] gives back what [`write`] was given. No bytes make it panic.
//! Not here: other types of BSON than JSON has values of, but for dates, which are read as the
//! milliseconds since 1970.

mod error;
mod read;
mod write;

pub(crate) use error::Error;
pub(crate) use read::read;
pub(crate) use write::write;

/// The types of elements, by their numbers in the BSON specification.
mod kind {
    pub(super) const DOUBLE: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const DOCUMENT: u8 = 0x03;
    pub(super) const ARRAY: u8 = 0x04;
    pub(super) const BINARY: u8 = 0x05;
    pub(super) const BOOLEAN: u8 = 0x08;
    pub(super) const DATE: u8 = 0x09;
    pub(super) const NULL: u8 = 0x0a;
    pub(super) const INT32: u8 = 0x10;
    pub(super) const INT64: u8 = 0x12;
}

#[cfg(test)]
mod tests;
