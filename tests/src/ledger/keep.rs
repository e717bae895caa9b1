//! Keeps what a run has left, for whoever looks for a fault or for what takes long.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::Services;
use super::fleet::Fleet;
use super::fold::Record;
use super::history::Change;
use super::report::Report;
use super::schedule::Planned;

/// What is known of a run.
pub struct Evidence<'r> {
    pub report: &'r Report,
    pub planned: &'r [Planned],
    pub records: &'r [Record],
    pub changes: &'r [Change],
    /// Of the hosts, but for their own sections.
    pub configuration: &'r str,
}

impl Evidence<'_> {
    /// Writes it into a folder of the seed's below `folder`, in place of an earlier run's, and tells
    /// which.
    pub fn keep(
        &self,
        folder: &Path,
        fleet: &Fleet,
        services: &Services,
    ) -> anyhow::Result<PathBuf> {
        let folder = folder.join(format!("seed-{}", self.report.seed));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text);
        let problems = self.report.problems().join("\n");
        write("report.txt", &format!("{}\n{problems}\n", self.report))?;
        write("recoveries.txt", &lines(&self.report.recovery.each)?)?;
        write("schedule.txt", &lines(self.planned)?)?;
        write("records.txt", &lines(self.records)?)?;
        write("history.txt", &lines(self.changes)?)?;
        write("projectionist.toml", self.configuration)?;
        write("broker.log", &services.broker.log())?;
        for (number, member) in services.store.members().iter().enumerate() {
            write(&format!("mongod-{number}.log"), &member.log())?;
        }
        for (name, log) in fleet.logs() {
            write(&format!("{name}.log"), &log)?;
        }
        Ok(folder)
    }
}

fn lines<T: std::fmt::Debug>(items: &[T]) -> anyhow::Result<String> {
    let mut lines = String::new();
    for item in items {
        writeln!(lines, "{item:?}")?;
    }
    Ok(lines)
}
