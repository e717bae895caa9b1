//! Signals to processes that a test has started.

use std::process::{Child, Command};

/// Sends a signal by its name, such as `STOP`.
pub fn send(process: &Child, name: &str) -> anyhow::Result<()> {
    let id = process.id().to_string();
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(id)
        .status()?;
    anyhow::ensure!(status.success(), "cannot send SIG{name}");
    Ok(())
}
