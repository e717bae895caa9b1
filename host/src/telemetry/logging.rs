//! Structured logs on standard error, as text for people or JSON for machines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "host.log: \"{filter}\" is no log filter, such as \"info\" or \"info,librdkafka=debug\""
    )]
    Filter {
        filter: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("the process logs already")]
    Installed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts logging for the whole process.
pub fn init(filter: &str, format: Format) -> Result<(), Error> {
    let parsed = EnvFilter::try_new(filter).map_err(|source| Error::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr);
    let installed = match format {
        Format::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(Error::Installed)
}
