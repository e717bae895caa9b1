//! `[gateway]`: views over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use toml::{Table, Value};

use super::effective::{duration, size, table, text, texts};
use super::reader::{Field, Section};
use super::readers::Readers;
use super::{readers, values};

/// Where and how views are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// `None`, the default, serves none.
    pub listen: Option<SocketAddr>,
    /// By which it may be asked for without a token, besides `localhost` and loopback addresses;
    /// `*` stands for all.
    pub names: Vec<String>,
    /// Open connections; 10,000 by default.
    pub connections_max: u32,
    /// Those of one address; three quarters of them by default.
    pub connections_per_address_max: u32,
    /// For an answer, besides what a request waits for a position; 5 s by default.
    pub request_timeout: Duration,
    /// For one read of one store; 2 s by default, never more than `request_timeout`.
    pub read_timeout: Duration,
    /// The longest wait for a position that a request may ask for; 30 s by default.
    pub wait_max: Duration,
    /// Until the whole head of a request is there; 1 minute by default.
    pub idle_timeout: Duration,
    /// Without a byte of an answer being taken; 30 s by default.
    pub write_timeout: Duration,
    /// Streams of events at a time; 1,000 by default.
    pub streams_max: u32,
    /// Those of one client; 100 by default.
    pub streams_per_client_max: u32,
    /// Of a stream; 1 hour by default.
    pub stream_lifetime: Duration,
    /// For documents that were read lately; `None`, the default, keeps none.
    pub cache_bytes_max: Option<u64>,
    /// Whether each request is logged; by default it is not.
    pub access_log: bool,
    /// Sites whose pages may read; `*` stands for all. By default none.
    pub cors_origins: Vec<String>,
    /// `None`, the default, counts nobody's requests.
    pub rate_limit: Option<RateLimit>,
    /// Never empty where `listen` is not a loopback address.
    pub readers: Readers,
}

/// Requests of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// A second.
    pub requests: u32,
    /// At once; as many as `requests` by default.
    pub burst: u32,
}

impl Default for Gateway {
    fn default() -> Self {
        Gateway {
            listen: None,
            names: Vec::new(),
            connections_max: 10_000,
            connections_per_address_max: 7_500,
            request_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(2),
            wait_max: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_secs(30),
            streams_max: 1_000,
            streams_per_client_max: 100,
            stream_lifetime: Duration::from_hours(1),
            cache_bytes_max: None,
            access_log: false,
            cors_origins: Vec::new(),
            rate_limit: None,
            readers: Readers::default(),
        }
    }
}

/// `admin` is where the host listens for other requests.
pub(super) fn read(mut section: Section<'_>, admin: SocketAddr) -> Gateway {
    let default = Gateway::default();
    let rate_limit = read_rate_limit(section.section("rate-limit"));
    let (readers, has_readers) = readers::read(&mut section);
    let connections_max = section
        .read("connections", values::count)
        .unwrap_or(default.connections_max);
    let gateway = Gateway {
        listen: section.read("listen", values::socket_address),
        names: section
            .read("names", values::items)
            .map_or_else(Vec::new, values::host_names),
        connections_max,
        connections_per_address_max: section
            .read("connections-per-address", values::count)
            .unwrap_or_else(|| three_quarters(connections_max)),
        request_timeout: section
            .read("request-timeout", values::duration)
            .unwrap_or(default.request_timeout),
        read_timeout: section
            .read("read-timeout", values::duration)
            .unwrap_or(default.read_timeout),
        wait_max: section
            .read("wait-max", values::duration)
            .unwrap_or(default.wait_max),
        idle_timeout: section
            .read("idle-timeout", values::duration)
            .unwrap_or(default.idle_timeout),
        write_timeout: section
            .read("write-timeout", values::duration)
            .unwrap_or(default.write_timeout),
        cache_bytes_max: section.read("cache-bytes", values::size),
        access_log: section
            .read("access-log", values::boolean)
            .unwrap_or(default.access_log),
        streams_max: section
            .read("streams", values::count)
            .unwrap_or(default.streams_max),
        streams_per_client_max: section
            .read("streams-per-client", values::count)
            .unwrap_or(default.streams_per_client_max),
        stream_lifetime: section
            .read("stream-lifetime", values::duration)
            .unwrap_or(default.stream_lifetime),
        cors_origins: section
            .read("cors-origins", values::items)
            .map_or_else(Vec::new, origins),
        rate_limit,
        readers,
    };
    if let Some(listen) = gateway.listen
        && !listen.ip().is_loopback()
        && !has_readers
    {
        let message = format!(
            "{listen} can be reached from other machines, so requests must name a token; add \
             [gateway.tokens.NAME] or [gateway.jwt], or listen on 127.0.0.1"
        );
        section.problem("listen", message);
    }
    if let Some(listen) = gateway.listen.filter(|listen| are_one(*listen, admin)) {
        let message =
            format!("{listen} and host.listen ({admin}) are one port; give one of them another");
        section.problem("listen", message);
    }
    let is_wrong = section.is_wrong("read-timeout") || section.is_wrong("request-timeout");
    if !is_wrong && gateway.read_timeout > gateway.request_timeout {
        let request_timeout = humantime::format_duration(gateway.request_timeout);
        let message = format!(
            "must not be more than request-timeout, which is {request_timeout}: no read would \
             ever take so long"
        );
        section.problem("read-timeout", message);
    }
    section.finish();
    gateway
}

/// Whether only one of them could be bound.
fn are_one(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    // A system chooses port 0 anew each time.
    one.port() == other.port() && one.port() != 0 && (everywhere || one.ip() == other.ip())
}

/// At least one.
fn three_quarters(count: u32) -> u32 {
    (count - count / 4).max(1)
}

fn read_rate_limit(mut section: Section<'_>) -> Option<RateLimit> {
    if section.is_absent() {
        return None;
    }
    let way_out = "say how many requests a client may make in a second";
    let requests = section.require("requests", way_out, values::count);
    let burst = section.read("burst", values::count);
    section.finish();
    let requests = requests?;
    Some(RateLimit {
        requests,
        burst: burst.unwrap_or(requests),
    })
}

fn origins(items: Vec<Field<'_>>) -> Vec<String> {
    let read = |item: Field<'_>| origin(&item).map_err(|message| item.problem(message)).ok();
    items.into_iter().filter_map(read).collect()
}

/// As browsers send it: scheme, host, and the port where it is not the scheme's own.
fn origin(field: &Field<'_>) -> Result<String, String> {
    let text = field.text()?;
    let site = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.text.strip_prefix(scheme));
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c);
    if text.text == "*" || site.is_some_and(|site| !site.is_empty() && site.chars().all(legal)) {
        return Ok(text.text);
    }
    Err(format!(
        "{} is no origin; write scheme, host and port as browsers send them, such as \
         \"https://app.example.org\", or \"*\" for all sites",
        text.quoted()
    ))
}

pub(super) fn to_toml(gateway: &Gateway) -> Table {
    let origins = gateway.cors_origins.iter().map(|origin| text(origin));
    let mut entries = table([
        ("names", texts(&gateway.names)),
        ("connections", Value::from(gateway.connections_max)),
        (
            "connections-per-address",
            gateway.connections_per_address_max.into(),
        ),
        ("request-timeout", duration(gateway.request_timeout)),
        ("read-timeout", duration(gateway.read_timeout)),
        ("wait-max", duration(gateway.wait_max)),
        ("idle-timeout", duration(gateway.idle_timeout)),
        ("write-timeout", duration(gateway.write_timeout)),
        ("streams", Value::from(gateway.streams_max)),
        ("streams-per-client", gateway.streams_per_client_max.into()),
        ("stream-lifetime", duration(gateway.stream_lifetime)),
        ("access-log", gateway.access_log.into()),
        ("cors-origins", Value::Array(origins.collect())),
    ]);
    entries.extend(readers::to_toml(&gateway.readers));
    if let Some(RateLimit { requests, burst }) = gateway.rate_limit {
        let limit = table([("requests", requests.into()), ("burst", burst.into())]);
        entries.insert("rate-limit".to_owned(), limit.into());
    }
    if let Some(bytes) = gateway.cache_bytes_max {
        entries.insert("cache-bytes".to_owned(), size(bytes));
    }
    if let Some(listen) = gateway.listen {
        entries.insert("listen".to_owned(), text(&listen.to_string()));
    }
    entries
}
