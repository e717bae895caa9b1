//! The stores that hold a view, and asking them in turn.
//!
//! Guarantee: a read that one copy cannot answer in time is tried on each of the others before it
//! fails. A copy that will never answer otherwise (a privilege that is missing, a document of
//! somebody else's) is not asked twice, and neither are the others: its error is the answer.
//!
//! Which copy is asked first is the order of the list.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tracing::debug;

use super::positions::Positions;
use crate::store::{Error, Reader, Store};
use crate::telemetry::health::describe;

/// One store with the views of a projection.
pub struct Copy {
    /// The store's name in the configuration.
    pub name: Arc<str>,
    pub store: Arc<dyn Store>,
    pub reader: Arc<dyn Reader>,
    pub positions: Arc<Positions>,
    /// How long one read may take.
    pub read_timeout: Duration,
}

/// At least one.
#[derive(Clone)]
pub struct Copies(Vec<Arc<Copy>>);

impl Copy {
    /// Waits for a read of this copy, but not for ever.
    pub(super) async fn within<T>(
        &self,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        within(self.reader.address(), self.read_timeout, read).await
    }
}

impl Copies {
    /// # Panics
    ///
    /// Without any copy.
    pub fn new(copies: Vec<Arc<Copy>>) -> Self {
        assert!(!copies.is_empty(), "a view is in one store at least");
        Copies(copies)
    }

    /// The one that is asked first.
    pub(super) fn first(&self) -> &Arc<Copy> {
        self.0.first().expect("there is one at least")
    }

    /// Asks the copies in turn until one answers.
    pub(super) async fn read<T, F>(&self, mut read: impl FnMut(Arc<Copy>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (last, others) = self.0.split_last().expect("there is one at least");
        for copy in others {
            match read(Arc::clone(copy)).await {
                Err(error) if error.is_transient() => failed(copy, &error),
                answer => return answer,
            }
        }
        let answer = read(Arc::clone(last)).await;
        if let Err(error) = &answer {
            failed(last, error);
        }
        answer
    }
}

fn failed(copy: &Copy, error: &Error) {
    debug!(copy = %copy.name, "a read failed: {}", describe(error));
    let copy = copy.name.to_string();
    counter!("projectionist_gateway_reads_failed_total", "copy" => copy).increment(1);
}

/// Waits for a read, but not for ever. One that takes too long counts as an outage of its store.
pub(super) async fn within<T>(
    address: &str,
    timeout: Duration,
    read: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout, read).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Unavailable {
            address: address.to_owned(),
            source: format!("no answer within {}", humantime::format_duration(timeout)).into(),
        }),
    }
}
