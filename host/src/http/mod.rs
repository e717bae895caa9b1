//! What the host's two HTTP servers share: the admin API (`admin`) and the gateway (`gateway`).

pub(crate) mod credentials;
pub(crate) mod problem;
