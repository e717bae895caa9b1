//! The programs of this crate: see [`crate::native`].

use std::process::Command;

use super::{Setup, Task};
use crate::native::Batch;

pub(super) fn command(name: &str, setup: &Setup, task: &Task) -> anyhow::Result<Command> {
    let Batch {
        events,
        documents,
        bytes,
    } = setup.batch;
    let mut command = Command::new(super::program("bench-native")?);
    command
        .arg(name)
        .args(["--kafka", &setup.kafka])
        .args(["--topic", &task.topic])
        .args(["--partitions", &task.partitions.to_string()])
        .args(["--mongodb", &setup.mongodb])
        .args(["--database", &task.name])
        .args(["--workload", task.workload.name()])
        .args(["--work-rounds", &task.work_rounds.to_string()])
        .args(["--batch-events", &events.to_string()])
        .args(["--batch-documents", &documents.to_string()])
        .args(["--batch-bytes", &bytes.to_string()]);
    Ok(command)
}
