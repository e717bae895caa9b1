//! `projectionist plugin list`: the plugins that are uploaded.

use anyhow::Context as _;
use bytesize::ByteSize;
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::client::HostAddress;
use crate::cli::output::{print_json, print_line, say};
use crate::printable::Printable;
use crate::registry::Uploaded;

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    host: HostAddress,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut body = self.host.client()?.get("/plugins")?;
        let plugins: Vec<Value> = parse(body["plugins"].take())?;
        let none = plugins.is_empty();
        for plugin in plugins {
            if self.json {
                print_json(&plugin.to_string())?;
            } else {
                print_line(&to_line(&parse(plugin)?))?;
            }
        }
        if none && !self.json {
            say("no plugin is uploaded");
        }
        Ok(())
    }
}

/// A plugin in a line of a list.
pub(super) fn to_line(plugin: &Uploaded) -> String {
    let about = &plugin.about;
    format!(
        "{}\t{} {}\t{}\t{}\tby {} at {}",
        about.sha256,
        Printable(&about.name),
        Printable(&about.version),
        about.kind,
        ByteSize::b(about.size_bytes),
        Printable(&plugin.uploaded_by),
        time(plugin.uploaded_at_ms)
    )
}

/// A moment of Unix time, for people.
pub(super) fn time(ms: i64) -> String {
    let since = std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string()
}

/// Reads a host's answer.
pub(super) fn parse<T: DeserializeOwned>(body: Value) -> anyhow::Result<T> {
    serde_json::from_value(body).context("the host's answer is not one of this version")
}
