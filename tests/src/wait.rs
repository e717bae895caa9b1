//! Waiting for a condition, never for a time.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Long enough for a busy machine; a test that waits so long has failed.
pub const DEADLINE: Duration = Duration::from_secs(90);

const POLL: Duration = Duration::from_millis(20);

/// Asks until the answer is a value.
///
/// # Panics
///
/// After [`DEADLINE`], with the last answer.
pub async fn until<T, E: Debug>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(error) if started.elapsed() > DEADLINE => {
                panic!("waited {DEADLINE:?} for {what}; it is still {error:?}")
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
