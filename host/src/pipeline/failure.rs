//! Why a projection as a whole cannot go on, and whether it may later.
//!
//! Not here: why a single partition stands still (`stop`), and trying again (`app::supervisor`).

/// Why a projection, or the source of its events, has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// A word for programs; it never changes.
    pub code: &'static str,
    /// One sentence, with the way out.
    pub reason: String,
    pub outlook: Outlook,
}

/// What may become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Somebody else may put it right, so it is tried again.
    MayPass,
    /// As long as credentials are refused, it is tried again, but not for ever: others are known to
    /// a new start only.
    LockedOut,
    /// The topic is gone. Once there is one again, it can go on where nothing of the old one was
    /// folded.
    Deleted { topic: String },
    /// Another configuration or another host's end is needed, or it is this host's own fault.
    Stays,
}

impl Failure {
    /// Something of the host's own has ended that should not.
    pub fn broken(reason: String) -> Self {
        Failure {
            code: "pipeline-ended",
            reason,
            outlook: Outlook::Stays,
        }
    }

    /// The consumer has to be made anew.
    pub fn of_consumer(reason: String) -> Self {
        Failure {
            code: "consumer-ended",
            reason,
            outlook: Outlook::MayPass,
        }
    }
}
