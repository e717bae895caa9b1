//! `projectionist run`: the host itself.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Failure, load, runtime, start_logging};
use crate::app::App;
use crate::telemetry::logging;

/// What is left when everything is drained, such as a store's connections, may take so long.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    start_logging(&config)?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let stop = stop_on_signal()?;
        let app = tokio::select! {
            app = App::build(&config) => app?,
            () = stop.cancelled() => return Ok(()),
        };
        Ok(app.run(stop).await?)
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
}

/// Cancelled at the first SIGTERM or SIGINT. At the second the process ends as it is, which loses
/// nothing: whatever is not stored is folded again.
fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let stop = CancellationToken::new();
    let first = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first.is_cancelled() {
                warn!("ending at once");
                logging::flush();
                std::process::exit(1);
            }
            info!("draining; a second signal ends the host at once");
            first.cancel();
        }
    });
    Ok(stop)
}
