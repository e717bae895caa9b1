//! What librdkafka does not take of the configuration, told by place.
//!
//! Guarantee: no value of a property is in what this says, whoever made the text. librdkafka quotes
//! values in its own; so where one is about a single property, that property is named and the text
//! is left out. What it says of several together is told, unless it may show a value that is to be
//! hidden.
//!
//! Not here: what Kafka says at run time (`codes`).

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

/// Why no client can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    #[error("it knows no property \"{property}\"; {way_out}")]
    Unknown { property: String, way_out: String },
    #[error("it does not take the value of \"{property}\"; {way_out}")]
    Value { property: String, way_out: String },
    #[error("{0}")]
    Together(String),
    #[error(
        "it does not take \"{0}\" as it is; what it says is left out, for it may show the value"
    )]
    Hidden(String),
}

/// Properties of Java's clients, and what stands for them here.
const OF_JAVA: [(&str, &str); 5] = [
    (
        "sasl.jaas.config",
        "that is Java's; write \"sasl.username\" and \"sasl.password\"",
    ),
    (
        "ssl.truststore.",
        "trust stores are Java's; write \"ssl.ca.location\", a file of PEM certificates",
    ),
    (
        "ssl.keystore.type",
        "it is always PKCS#12; leave this property out",
    ),
    (
        "ssl.keystore.",
        "write \"ssl.keystore.location\" and \"ssl.keystore.password\", of a PKCS#12 file",
    ),
    (
        "sasl.client.callback.handler.class",
        "that is Java's; leave it out",
    ),
];

/// What is likely meant where a name is almost one of these.
const OFTEN_SET: [&str; 26] = [
    "broker.address.family",
    "check.crcs",
    "client.rack",
    "fetch.max.bytes",
    "fetch.wait.max.ms",
    "max.poll.interval.ms",
    "message.max.bytes",
    "metadata.max.age.ms",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
];

const LIST: &str = "librdkafka's CONFIGURATION.md lists what there is";

/// Letters that differ at most between a name and the one that is meant.
const DISTANCE_MAX: usize = 2;

/// Shorter pieces of a value are in every text.
const PIECE_CHARS_MIN: usize = 4;

impl Mistake {
    /// Of what librdkafka refuses. `hidden` are the properties whose values are to be shown to
    /// nobody.
    pub(super) fn new(
        error: &KafkaError,
        properties: &BTreeMap<String, String>,
        hidden: &BTreeSet<String>,
    ) -> Self {
        let KafkaError::ClientConfig(outcome, text, property, _) = error else {
            return Mistake::together(&error.to_string(), properties, hidden);
        };
        let property = property.clone();
        let of_java = OF_JAVA
            .iter()
            .find(|(start, _)| property.starts_with(start));
        if text.contains("not supported in this build") {
            let way_out = "this host is built without it; leave it out".to_owned();
            return Mistake::Unknown { property, way_out };
        }
        match (outcome, of_java) {
            (RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, None) => Mistake::Unknown {
                way_out: near(&property),
                property,
            },
            (_, Some((_, way_out))) => Mistake::Unknown {
                property,
                way_out: (*way_out).to_owned(),
            },
            (_, None) => Mistake::Value {
                property,
                way_out: LIST.to_owned(),
            },
        }
    }

    fn together(
        text: &str,
        properties: &BTreeMap<String, String>,
        hidden: &BTreeSet<String>,
    ) -> Self {
        let shows = |name: &&String| {
            let value = properties.get(*name).map_or("", String::as_str);
            text.contains(name.as_str()) || is_shown(value, text)
        };
        match hidden.iter().find(shows) {
            Some(property) => Mistake::Hidden(property.clone()),
            None => Mistake::Together(text.to_owned()),
        }
    }
}

/// True where a text shows a value, or a part of one that is long enough to tell.
fn is_shown(value: &str, text: &str) -> bool {
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let said = words(text);
    let is_word = !value.is_empty() && said.contains(value);
    let has_piece = words(value)
        .iter()
        .any(|piece| piece.chars().count() >= PIECE_CHARS_MIN && text.contains(piece.as_str()));
    is_word || has_piece
}

fn near(property: &str) -> String {
    let distance = |known: &&&str| strsim::osa_distance(property, known);
    let nearest = OFTEN_SET.iter().min_by_key(distance);
    match nearest.filter(|known| distance(known) <= DISTANCE_MAX) {
        Some(known) => format!("did you mean \"{known}\"?"),
        None => LIST.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::BaseConsumer;

    use super::*;

    /// What is said of properties whose values are all hidden.
    fn said(properties: &[(&str, &str)]) -> String {
        let properties: BTreeMap<String, String> = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut config = ClientConfig::new();
        for (name, value) in &properties {
            config.set(name, value);
        }
        let client: Result<BaseConsumer, _> = config.create();
        let error = client.err().expect("librdkafka refuses");
        let hidden = properties.keys().cloned().collect();
        let mistake = Mistake::new(&error, &properties, &hidden);
        format!("{mistake} {mistake:?}")
    }

    #[test]
    fn a_property_is_named_and_its_value_never_shown() {
        let cases: [(&[(&str, &str)], &str); 8] = [
            (
                &[("sasl.passwort", "sesame")],
                "did you mean \"sasl.password\"?",
            ),
            (
                &[("sasl.oauthbearer.client.secrets", "sesame")],
                "did you mean \"sasl.oauthbearer.client.secret\"?",
            ),
            (
                &[("security.protocol", "sesame")],
                "the value of \"security.protocol\"",
            ),
            (
                &[("broker.address.family", "sesame")],
                "the value of \"broker.address.family\"",
            ),
            (
                &[("ssl.truststore.password", "sesame")],
                "\"ssl.ca.location\"",
            ),
            (&[("sasl.jaas.config", "sesame")], "\"sasl.username\""),
            (
                &[("session.timeout.ms", "sesame")],
                "the value of \"session.timeout.ms\"",
            ),
            (
                &[("sesion.timeout.ms", "sesame")],
                "did you mean \"session.timeout.ms\"?",
            ),
        ];
        for (properties, expected) in cases {
            let said = said(properties);
            assert!(said.contains(expected), "{properties:?}: {said}");
            assert!(!said.contains("sesame"), "{properties:?}: {said}");
        }
    }

    #[test]
    fn what_is_said_of_several_shows_no_hidden_value() {
        let properties =
            |password: &str| BTreeMap::from([("sasl.password".to_owned(), password.to_owned())]);
        let hidden = BTreeSet::from(["sasl.password".to_owned()]);
        let cases = [
            ("a mechanism is missing", "sesame", true),
            // By place, not by letters.
            ("a mechanism is missing", "m", true),
            ("unexpected: open sesame", "sesame", false),
            ("unexpected: x=ses%40me", "open;ses%40me", false),
            ("unexpected: open", "open;sesame", false),
            ("sasl.password is wrong", "sesame", false),
        ];
        for (text, password, is_told) in cases {
            let mistake = Mistake::together(text, &properties(password), &hidden);
            let expected = match is_told {
                true => Mistake::Together(text.to_owned()),
                false => Mistake::Hidden("sasl.password".to_owned()),
            };
            assert_eq!(mistake, expected, "{text}, {password}");
        }
    }
}
