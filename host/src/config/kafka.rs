//! `[kafka]`: the brokers, how hosts share a group, and what is passed on to librdkafka.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::environment::Text;
use super::reader::{Field, Section};
use super::secret::Secret;
use super::tree::Value;
use super::values;

/// The cluster that events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `host` or `host:port`, at least one.
    pub brokers: Vec<String>,
    /// Who spreads the partitions over the hosts; `classic` by default.
    pub group_protocol: GroupProtocol,
    /// Whether a host that is started again under its name is the same member of its groups;
    /// false by default. Classic protocol only.
    pub static_membership: bool,
    /// librdkafka's own properties, without those that the host sets; none by default.
    pub properties: BTreeMap<String, Secret>,
}

/// How the hosts of a group agree on who has which partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// One of the hosts assigns, cooperative-sticky.
    Classic,
    /// The broker assigns (KIP-848). Brokers of Kafka 4.0 or newer.
    Consumer,
}

pub(super) const GROUP_PROTOCOLS: [(&str, GroupProtocol); 2] = [
    ("classic", GroupProtocol::Classic),
    ("consumer", GroupProtocol::Consumer),
];

/// librdkafka's defaults. That of the session is the brokers', too, where they set it.
const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(45);
const MAX_POLL_INTERVAL_DEFAULT: Duration = Duration::from_secs(300);
const HEARTBEAT_INTERVAL_DEFAULT: Duration = Duration::from_secs(3);

/// Shorter ones lose partitions to a slow network; brokers refuse longer ones.
const SESSION_TIMEOUT_MS: RangeInclusive<u64> = 1_000..=1_800_000;

const SESSION_TIMEOUT: &str = "session.timeout.ms";
const HEARTBEAT_INTERVAL: &str = "heartbeat.interval.ms";
const MAX_POLL_INTERVAL: &str = "max.poll.interval.ms";

/// With the protocol `consumer` the brokers decide on these, by properties of theirs.
const BROKERS_OWN: [(&str, &str); 2] = [
    (SESSION_TIMEOUT, "group.consumer.session.timeout.ms"),
    (HEARTBEAT_INTERVAL, "group.consumer.heartbeat.interval.ms"),
];

/// Properties that would break what the host promises, and what to do instead.
pub(super) const RESERVED: [(&str, &str); 21] = [
    ("group.id", "set group-id of the projection instead"),
    ("group.protocol", "set kafka.group-protocol instead"),
    (
        "group.instance.id",
        "set kafka.static-membership and host.name instead",
    ),
    ("bootstrap.servers", "set kafka.brokers instead"),
    ("metadata.broker.list", "set kafka.brokers instead"),
    (
        "enable.auto.commit",
        "the host sets it, because an offset may be committed only after what it stands for is stored",
    ),
    (
        "enable.auto.offset.store",
        "the host sets it, because an offset may be committed only after what it stands for is stored",
    ),
    (
        "auto.offset.reset",
        "the host sets it, because it starts at its own checkpoints and anything else would skip \
         or repeat events",
    ),
    (
        "partition.assignment.strategy",
        "the host sets it, because all hosts of a group must give up partitions in the same way",
    ),
    (
        "isolation.level",
        "the host sets it, because events of aborted transactions must not be projected",
    ),
    (
        "enable.partition.eof",
        "the host sets it, because its consumer depends on it",
    ),
    ("client.id", "set host.name instead"),
    ("enable.idempotence", SENDING),
    ("acks", SENDING),
    ("request.required.acks", SENDING),
    ("message.timeout.ms", SENDING),
    ("delivery.timeout.ms", SENDING),
    ("retries", SENDING),
    ("message.send.max.retries", SENDING),
    ("transactional.id", SENDING),
    (
        "partitioner",
        "the host sets it, because a key must meet the same partition as with Kafka's own clients",
    ),
];

const SENDING: &str = "the host sets it, because a message must neither be lost nor overtake \
                       another one";

impl Kafka {
    /// How long brokers wait for a silent host before its partitions go to another. With the
    /// protocol `consumer` it is the brokers' own, and taken to be their default.
    pub fn session_timeout(&self) -> Duration {
        match self.group_protocol {
            GroupProtocol::Classic => self.milliseconds(SESSION_TIMEOUT),
            GroupProtocol::Consumer => None,
        }
        .unwrap_or(SESSION_TIMEOUT_DEFAULT)
    }

    /// False where the one that is configured is wrong.
    pub(super) fn has_session_timeout(&self) -> bool {
        let known = match self.group_protocol {
            GroupProtocol::Classic => self.properties.contains_key(SESSION_TIMEOUT),
            GroupProtocol::Consumer => false,
        };
        let within = |timeout: Duration| {
            u64::try_from(timeout.as_millis()).is_ok_and(|ms| SESSION_TIMEOUT_MS.contains(&ms))
        };
        !known || self.milliseconds(SESSION_TIMEOUT).is_some_and(within)
    }

    fn milliseconds(&self, property: &str) -> Option<Duration> {
        let milliseconds = self.properties.get(property)?.expose().parse().ok()?;
        Some(Duration::from_millis(milliseconds))
    }
}

pub(super) fn read(mut section: Section<'_>) -> Kafka {
    let way_out = "name the brokers, such as \"localhost:9092\"";
    section.expect("brokers", way_out);
    let brokers = section.field("brokers").map(|field| brokers(&field));
    let group_protocol = section
        .read("group-protocol", values::choice(&GROUP_PROTOCOLS))
        .unwrap_or(GroupProtocol::Classic);
    let static_membership = section
        .read("static-membership", values::boolean)
        .unwrap_or(false);
    if static_membership && group_protocol == GroupProtocol::Consumer {
        section.problem(
            "static-membership",
            "does not go with group-protocol \"consumer\": a host that was killed would be refused \
             until its session has timed out, and its projections would fail; leave one of them out",
        );
    }
    let properties = properties(section.section("properties"), group_protocol);
    section.finish();
    Kafka {
        brokers: brokers.unwrap_or_default(),
        group_protocol,
        static_membership,
        properties,
    }
}

/// A list of addresses, or one string with commas.
fn brokers(field: &Field<'_>) -> Vec<String> {
    let mut addresses = Vec::new();
    match field.typed() {
        Value::Array(items) => {
            for item in items {
                let item = field.item(item);
                match item.text() {
                    Ok(text) => addresses.push((item, text)),
                    Err(message) => item.problem(message),
                }
            }
            if items.is_empty() {
                field.problem("must name at least one broker");
            }
        }
        _ => match field.text_as("a string or a list of strings") {
            Ok(list) => {
                for part in list.text.split(',') {
                    let text = part.trim().to_owned();
                    let secret = list.secret;
                    addresses.push((field.itself(), Text { text, secret }));
                }
            }
            Err(message) => field.problem(message),
        },
    }
    for (field, address) in &addresses {
        if !is_address(&address.text) {
            let quoted = address.quoted();
            field.problem(format!(
                "{quoted} is no broker's address; write it as \"localhost:9092\""
            ));
        }
    }
    addresses.into_iter().map(|(_, text)| text.text).collect()
}

/// `host`, `host:port`, `[v6]:port`; librdkafka takes a protocol before it, too.
fn is_address(address: &str) -> bool {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, port) = match address.rsplit_once(':') {
        // The colon of an IPv6 address.
        Some((_, port)) if port.ends_with(']') => (address, None),
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let host_fits = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    host_fits && port_fits
}

fn properties(section: Section<'_>, protocol: GroupProtocol) -> BTreeMap<String, Secret> {
    let mut properties = BTreeMap::new();
    for (name, field) in section.named_fields() {
        match property(name, &field) {
            Ok(value) => {
                properties.insert(name.to_owned(), value);
            }
            Err(message) => field.problem(message),
        }
    }
    let kafka = Kafka {
        brokers: Vec::new(),
        group_protocol: protocol,
        static_membership: false,
        properties,
    };
    match protocol {
        GroupProtocol::Classic => check_timeouts(&section, &kafka),
        GroupProtocol::Consumer => check_sides(&section, &kafka),
    }
    kafka.properties
}

fn property(name: &str, field: &Field<'_>) -> Result<Secret, String> {
    if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Err(format!("cannot be set here; {instead}"));
    }
    let plain = |text: String| Text {
        text,
        secret: false,
    };
    let text = match field.typed() {
        Value::Integer(number) => plain(number.to_string()),
        Value::Boolean(boolean) => plain(boolean.to_string()),
        Value::Table(_) => {
            return Err(format!(
                "expected a value, found a table; put a name with dots in quotes: \"{name}.…\" = …"
            ));
        }
        _ => field.text_as("a string, an integer or a boolean")?,
    };
    Ok(if text.secret || is_secret(name) {
        Secret::hidden(text.text)
    } else {
        Secret::open(text.text)
    })
}

fn is_secret(property: &str) -> bool {
    // Also of names that librdkafka does not know: a slip of the pen makes a secret no less one.
    let telltales = [
        "passw",
        "passphrase",
        "secret",
        "token",
        "credential",
        "jaas",
        "oauthbearer.config",
        "assertion",
        ".key",
        ".pem",
    ];
    // Where a token comes from is no secret, and what is wrong with it has to be told.
    let place = property.ends_with(".location") || property.ends_with("endpoint.url");
    !place && telltales.iter().any(|part| property.contains(part))
}

/// The broker's side is unknown; librdkafka checks a part of this, and would say it less well.
fn check_timeouts(section: &Section<'_>, kafka: &Kafka) {
    for name in [SESSION_TIMEOUT, HEARTBEAT_INTERVAL, MAX_POLL_INTERVAL] {
        if kafka.properties.contains_key(name) && kafka.milliseconds(name).is_none() {
            section.problem(name, "must be a number of milliseconds");
        }
    }
    if !kafka.has_session_timeout() {
        if !section.is_wrong(SESSION_TIMEOUT) {
            let (least, most) = SESSION_TIMEOUT_MS.into_inner();
            section.problem(
                SESSION_TIMEOUT,
                format!("must be from {least} to {most} milliseconds"),
            );
        }
        // The others are measured by it.
        return;
    }
    let session = kafka.session_timeout();
    let heartbeat = kafka.milliseconds(HEARTBEAT_INTERVAL);
    if heartbeat.unwrap_or(HEARTBEAT_INTERVAL_DEFAULT) >= session {
        section.problem(
            HEARTBEAT_INTERVAL,
            format!(
                "must be less than {SESSION_TIMEOUT:?} (it is 3000 where it is not set), best a third \
                 of it, or each session would end before its first heartbeat"
            ),
        );
    }
    let is_wrong = section.is_wrong(MAX_POLL_INTERVAL);
    let poll = kafka.milliseconds(MAX_POLL_INTERVAL);
    if !is_wrong && poll.unwrap_or(MAX_POLL_INTERVAL_DEFAULT) < session {
        section.problem(
            MAX_POLL_INTERVAL,
            format!("must not be less than {SESSION_TIMEOUT:?}; raise it, or lower that"),
        );
    }
}

fn check_sides(section: &Section<'_>, kafka: &Kafka) {
    for (name, at_the_brokers) in BROKERS_OWN {
        if kafka.properties.contains_key(name) {
            section.problem(
                name,
                format!(
                    "cannot be set here with group-protocol \"consumer\"; it is the brokers' \
                     {at_the_brokers}"
                ),
            );
        }
    }
}
