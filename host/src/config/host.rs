//! `[host]`: this process.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::kafka::{GroupProtocol, Kafka};
use super::reader::{Field, Section};
use super::tokens::{self, Token};
use super::{suggest, values};

/// This process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Names this host in checkpoints, and to Kafka's brokers; by default as the caller has it. Two
    /// hosts of one name are told apart by epochs, not by people. With static membership it is the
    /// host's name in its groups, and never the default.
    pub name: String,
    /// Where metrics and health are served; 127.0.0.1:9464 by default.
    pub listen: SocketAddr,
    /// A filter directive of `tracing`, which parses; `info` by default.
    pub log: String,
    pub log_format: LogFormat,
    /// How long to wait for Kafka and the stores at the start before giving up; 30 s by default.
    pub startup_timeout: Duration,
    /// How long what is in flight may take when partitions are given up; 20 s by default. Always
    /// less than [`Kafka::session_timeout`](super::Kafka::session_timeout): later, the partitions
    /// are another host's already.
    pub drain_timeout: Duration,
    /// Who may use the admin API, by name. Never empty where `listen` is not a loopback address.
    pub tokens: BTreeMap<String, Token>,
    /// By which it may be asked for, besides addresses and `localhost`; `*` stands for all.
    pub names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; the default.
    Text,
    /// One object a line, for machines.
    Json,
}

pub(super) const LOG_FORMATS: [(&str, LogFormat); 2] =
    [("text", LogFormat::Text), ("json", LogFormat::Json)];

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
const LOG: &str = "info";
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What brokers take for a member's name.
const MEMBER_NAME_LEN_MAX: usize = 249;

pub(super) fn read<'c>(
    mut section: Section<'c>,
    default_name: &str,
    kafka: &Kafka,
) -> (Host, tokens::Named<'c>) {
    let token_sections = section.section("tokens");
    let (tokens, named) = tokens::read(&token_sections);
    let host = Host {
        name: name(&mut section, kafka).unwrap_or_else(|| default_name.to_owned()),
        listen: section
            .read("listen", values::socket_address)
            .unwrap_or(LISTEN),
        log: section
            .read("log", filter)
            .unwrap_or_else(|| LOG.to_owned()),
        log_format: section
            .read("log-format", values::choice(&LOG_FORMATS))
            .unwrap_or(LogFormat::Text),
        startup_timeout: section
            .read("startup-timeout", values::duration)
            .unwrap_or(STARTUP_TIMEOUT),
        drain_timeout: section
            .read("drain-timeout", values::duration)
            .unwrap_or(DRAIN_TIMEOUT),
        tokens,
        names: section
            .read("names", values::items)
            .map_or_else(Vec::new, values::host_names),
    };
    let lacks_tokens = token_sections.named_sections().is_empty() && !section.is_wrong("tokens");
    if !host.listen.ip().is_loopback() && lacks_tokens {
        let message = format!(
            "{} can be reached from other machines, so requests must name a token; add \
             [host.tokens.NAME] with token and role, or listen on 127.0.0.1",
            host.listen
        );
        section.problem("listen", message);
    }
    let session_timeout = kafka.session_timeout();
    // What is wrong with one of them has been said.
    let both_known = kafka.has_session_timeout() && !section.is_wrong("drain-timeout");
    if both_known && host.drain_timeout >= session_timeout {
        let way_out = match kafka.group_protocol {
            GroupProtocol::Classic => {
                "lower it, or raise \"session.timeout.ms\" in kafka.properties"
            }
            GroupProtocol::Consumer => {
                "lower it; with group-protocol \"consumer\" that is the brokers' \
                 group.consumer.session.timeout.ms, and taken to be its default"
            }
        };
        let message = format!(
            "{} is not less than Kafka's session timeout of {}, so other hosts would take the \
             partitions over before they are drained; {way_out}",
            humantime::format_duration(host.drain_timeout),
            humantime::format_duration(session_timeout)
        );
        section.problem("drain-timeout", message);
    }
    section.finish();
    (host, named)
}

fn name(section: &mut Section<'_>, kafka: &Kafka) -> Option<String> {
    let name = section.read("name", values::line);
    if kafka.static_membership && kafka.group_protocol == GroupProtocol::Classic {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let fits = |name: &str| name.len() <= MEMBER_NAME_LEN_MAX && name.chars().all(legal);
        let problem = match &name {
            None => Some("must be set"),
            Some(name) if !fits(name) => {
                Some("must be of at most 249 ASCII letters, digits, dots, underscores and hyphens")
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            section.problem(
                "name",
                format!(
                    "{problem}, and be another one for each host, because kafka.static-membership \
                     makes it the host's name in its groups"
                ),
            );
        }
    }
    name
}

fn filter(field: &Field<'_>) -> Result<String, String> {
    const EXAMPLE: &str = "\"info\" or \"warn,projectionist=debug\"";
    let text = field.text()?;
    if EnvFilter::try_new(&text.text).is_err() || text.text.trim().is_empty() {
        let quoted = text.quoted();
        return Err(format!(
            "{quoted} is no log filter; write one such as {EXAMPLE}"
        ));
    }
    for directive in text.text.split(',') {
        let directive = directive.trim().to_lowercase();
        // To `tracing`, a misspelt level is a module of which everything is logged.
        let is_level = LOG_LEVELS.contains(&directive.as_str());
        let is_module = directive.contains(['=', ':', '_', '[']);
        if !is_level && !is_module && suggest::nearest(&directive, &LOG_LEVELS).is_none() {
            let quoted = text.quoted();
            return Err(format!(
                "{quoted} names no level; write one such as {EXAMPLE}"
            ));
        }
        if let Some(level) = suggest::nearest(&directive, &LOG_LEVELS)
            && !is_level
        {
            let quoted = text.quoted();
            return Err(format!(
                "{quoted} has an unknown level; did you mean {level:?}?"
            ));
        }
    }
    Ok(text.text)
}
