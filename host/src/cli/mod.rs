//! The commands. Each file is one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, Problems};
use crate::telemetry::health::describe;
use crate::telemetry::logging;

use output::say;

mod balance;
mod check;
mod client;
mod demo;
mod documents;
mod output;
mod parked;
mod plugin;
mod run;
mod token;

/// Kafka events in, MongoDB read models out, and the logic in between is a Wasm plugin.
///
/// Projectionist consumes Kafka topics, folds the events of each key in order with sandboxed
/// plugins that you write, and stores the resulting documents exactly once, in MongoDB or in a
/// file.
///
/// Start with `projectionist demo`, then read docs/guide/first-projection.md.
#[derive(Debug, Parser)]
#[command(name = "projectionist", version, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   something failed; the message says what
  2   the arguments are wrong
  64  the configuration, or a plugin that it names, is wrong
  69  Kafka or a store does not answer
  141 the reader of the output has gone

Environment:
  PROJECTIONIST__SECTION__KEY overrides a key of the configuration, as in
  PROJECTIONIST__KAFKA__BROKERS=broker:9092";

#[derive(Debug, Subcommand)]
enum Command {
    /// Try policies out before they are used
    Balance(balance::Balance),
    /// Run the projections of a configuration until SIGTERM or SIGINT
    Run(ConfigFile),
    /// Check a configuration and the plugins that it names, and tell all problems at once
    Check(check::Check),
    /// Project 27,004 real departures, without Kafka or MongoDB, and verify every document
    Demo(demo::Demo),
    /// Print one document
    Get(documents::Get),
    /// Print the documents of a view, one a line, in the order of their ids
    List(documents::List),
    /// Print the position of an event as a token, for those who read their own writes
    Token(token::Token),
    /// Look at events that their projection could not take, fold them again, or give one up
    Parked(parked::Parked),
    /// Start a plugin, test it without a host, check it, and upload it to one
    Plugin(plugin::Plugin),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration; docs/guide/configuration.md lists its keys
    #[arg(long, value_name = "FILE", env = "PROJECTIONIST_CONFIG")]
    config: PathBuf,
}

/// How a command ends.
enum Failure {
    /// The configuration or a plugin is wrong.
    Wrong(anyhow::Error),
    /// Kafka or a store does not answer.
    Unavailable(anyhow::Error),
    Other(anyhow::Error),
}

/// Runs a command. What it has to say, it has said when this returns.
pub fn run(arguments: Arguments) -> ExitCode {
    let result = match arguments.command {
        Command::Balance(balance) => balance.run(),
        Command::Run(file) => run::run(&file.config),
        Command::Check(check) => check.run(),
        Command::Demo(demo) => demo.run(),
        Command::Get(get) => get.run(),
        Command::List(list) => list.run(),
        Command::Token(token) => token.run(),
        Command::Parked(parked) => parked.run(),
        Command::Plugin(plugin) => plugin.run(),
    };
    let (error, code) = match result {
        Ok(()) => {
            logging::flush();
            return ExitCode::SUCCESS;
        }
        Err(Failure::Other(error)) => (error, 1),
        Err(Failure::Wrong(error)) => (error, 64),
        Err(Failure::Unavailable(error)) => (error, 69),
    };
    say(&describe(error.as_ref()));
    logging::flush();
    ExitCode::from(code)
}

fn load(path: &Path) -> Result<Config, Problems> {
    config::load(path, environment(), &host_name())
}

/// A variable that is not UTF-8 cannot be one of ours, nor stand in a text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Names this process among the hosts of a cluster.
fn host_name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_else(|_| "host".to_owned());
    format!("{}-{}", machine.trim(), std::process::id())
}

fn start_logging(config: &Config) -> Result<(), Failure> {
    let format = match config.host.log_format {
        config::LogFormat::Text => logging::Format::Text,
        config::LogFormat::Json => logging::Format::Json,
    };
    logging::init(&config.host.log, format).map_err(|error| match error {
        logging::Error::Filter { .. } => Failure::Wrong(error.into()),
        logging::Error::Installed(_) | logging::Error::Outlet(_) => Failure::Other(error.into()),
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(runtime)
}

impl Failure {
    /// What went wrong, whatever the exit code would be.
    fn into_error(self) -> anyhow::Error {
        match self {
            Failure::Wrong(error) | Failure::Unavailable(error) | Failure::Other(error) => error,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Other(error)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Failure::Wrong(problems.into())
    }
}

impl From<crate::app::Error> for Failure {
    fn from(error: crate::app::Error) -> Self {
        if error.is_configuration() {
            Failure::Wrong(error.into())
        } else if error.is_unavailable() {
            Failure::Unavailable(error.into())
        } else {
            Failure::Other(error.into())
        }
    }
}

impl From<crate::store::Error> for Failure {
    fn from(error: crate::store::Error) -> Self {
        if error.is_transient() {
            Failure::Unavailable(error.into())
        } else {
            Failure::Other(error.into())
        }
    }
}

impl From<crate::registry::Error> for Failure {
    fn from(error: crate::registry::Error) -> Self {
        if error.is_unavailable() {
            Failure::Unavailable(error.into())
        } else {
            Failure::Other(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Every text that names a command, in the host's sources and the guide: the words behind it.
    fn named_commands() -> Vec<(PathBuf, Vec<String>)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut folders = vec![root.join("src"), root.join("../docs")];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                // A string of Rust that goes on in the next line.
                let lines = text.split("\\\n").map(str::trim_start);
                let text = lines.collect::<Vec<_>>().join("");
                for quote in ["\\\"", "`"] {
                    for (_, behind) in named(&text, quote) {
                        found.push((path.clone(), behind));
                    }
                }
            }
        }
        found
    }

    fn named(text: &str, quote: &str) -> Vec<(usize, Vec<String>)> {
        let start = format!("{quote}projectionist ");
        let places = text.match_indices(&start);
        let words = |at: usize| {
            let behind = &text[at + start.len()..];
            let end = behind.find(['\n', '"', '`', '\\']).unwrap_or(behind.len());
            let words = behind[..end].split(' ').map(str::to_owned);
            words.take(3).collect()
        };
        places.map(|(at, _)| (at, words(at))).collect()
    }

    #[test]
    fn every_command_that_a_text_names_is_there() {
        let named = named_commands();
        assert!(named.len() > 30, "only {} were found", named.len());
        for (path, words) in named {
            let mut command = Arguments::command();
            for word in &words {
                if !command.has_subcommands() || word.starts_with('-') || word == "…" {
                    break;
                }
                let inner = command.find_subcommand(word).cloned();
                command = inner
                    .unwrap_or_else(|| panic!("{}: there is no command {words:?}", path.display()));
            }
        }
    }
}
