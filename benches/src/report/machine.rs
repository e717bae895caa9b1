//! What the figures were measured on.

use mongodb::Client;
use serde::Serialize;

use crate::observe::server;

#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub mongodb_version: String,
    /// How long MongoDB keeps old versions of documents; `None` where it does not tell.
    pub mongodb_history_window_seconds: Option<i64>,
}

impl Machine {
    /// # Errors
    /// MongoDB's.
    pub async fn look(client: &Client) -> anyhow::Result<Self> {
        let (version, window) = server::about(client).await?;
        let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory_info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kibibytes: Option<u64> =
            value(&memory_info, "MemTotal").and_then(|text| text.strip_suffix(" kB")?.parse().ok());
        Ok(Machine {
            cpu: value(&cpu_info, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes.unwrap_or(0) * 1024,
            mongodb_version: version,
            mongodb_history_window_seconds: window,
        })
    }

    /// For people.
    pub fn line(&self) -> String {
        let window = match self.mongodb_history_window_seconds {
            Some(seconds) => format!(" (keeps old versions for {seconds} s)"),
            None => String::new(),
        };
        format!(
            "{} cores of {}, {:.0} GiB, MongoDB {}{window}",
            self.cores,
            self.cpu,
            self.memory_bytes as f64 / 1024.0_f64.powi(3),
            self.mongodb_version
        )
    }
}

/// The value of the first line `name : value`.
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}
