//! Work that would hold up the runtime.

use anyhow::Context as _;
use tokio::sync::oneshot;

/// Runs something on a thread of its own, and waits for it.
///
/// Unlike tokio's blocking tasks, it does not hold up the end of the program: after Ctrl-C nobody
/// waits for a topic to be filled.
///
/// # Errors
/// Those of the work, and that it has panicked.
pub async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let (sender, result) = oneshot::channel();
    // Where nobody waits any more, nobody wants the result.
    std::thread::spawn(move || drop(sender.send(work())));
    result.await.context("a thread has panicked")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_work_returns_is_returned() {
        assert_eq!(on_thread(|| Ok(7)).await.expect("it is 7"), 7);
        let failed = on_thread::<()>(|| anyhow::bail!("no luck")).await;
        assert_eq!(failed.expect_err("it has failed").to_string(), "no luck");
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let panicked = on_thread::<()>(|| panic!("on purpose")).await;
        let error = panicked.expect_err("it has panicked").to_string();
        assert_eq!(error, "a thread has panicked");
    }
}
