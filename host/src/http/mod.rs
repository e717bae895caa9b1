//! What the host's two HTTP servers share: the admin API (`admin`) and the gateway (`gateway`).

pub(crate) mod client;
mod connection;
pub(crate) mod credentials;
pub(crate) mod names;
pub(crate) mod peer;
mod places;
pub(crate) mod problem;
pub(crate) mod server;
