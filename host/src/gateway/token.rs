//! Positions in topics as text: what a reader hands in to read what was written before, and what
//! each answer says of itself.
//!
//! ```text
//! token     = topic *( ";" topic )        flights:0@41,3@7;orders:1@0
//! topic     = NAME ":" place *( "," place )
//! place     = PARTITION "@" OFFSET
//! ```
//!
//! `flights:0@41` means: with all events of partition 0 of `flights` up to the one at offset 41,
//! this one included. So what a producer is told of a record that was acknowledged (topic,
//! partition, offset) is a token, and several of them are one with a `;` between. A partition may
//! be named more than once; the highest offset counts.
//!
//! Topics have letters, digits, dots, underscores and hyphens only, so a token needs no escapes,
//! neither in a header nor behind a question mark.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::record::{NextOffset, Offset, TopicPartition};

/// For each partition the first offset that need not be included. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(BTreeMap<TopicPartition, NextOffset>);

/// The text is no token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{part}\" is no position; write TOPIC:PARTITION@OFFSET, as in flights:0@41")]
pub struct Malformed {
    part: String,
}

/// What of a malformed token is repeated.
const QUOTED_MAX: usize = 60;

impl Token {
    /// The position of an event: with this one and all before it.
    pub fn of_event(partition: TopicPartition, offset: Offset) -> Self {
        Token(BTreeMap::from([(partition, offset.next())]))
    }

    /// `None` where no event is included.
    pub fn of_positions(
        positions: impl IntoIterator<Item = (TopicPartition, NextOffset)>,
    ) -> Option<Self> {
        let positions = positions.into_iter();
        let positions: BTreeMap<_, _> = positions.filter(|(_, next)| next.0 > 0).collect();
        (!positions.is_empty()).then_some(Token(positions))
    }

    pub fn partitions(&self) -> impl Iterator<Item = (&TopicPartition, NextOffset)> {
        self.0.iter().map(|(partition, next)| (partition, *next))
    }
}

impl FromStr for Token {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut positions: BTreeMap<TopicPartition, NextOffset> = BTreeMap::new();
        for part in text.split(';') {
            let malformed = || Malformed {
                part: part.chars().take(QUOTED_MAX).collect(),
            };
            let (topic, places) = part.split_once(':').ok_or_else(malformed)?;
            let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if topic.is_empty() || !topic.chars().all(legal) {
                return Err(malformed());
            }
            for place in places.split(',') {
                let (partition, next) = read_place(place).ok_or_else(malformed)?;
                let partition = TopicPartition::new(topic, partition);
                let known = positions.entry(partition).or_insert(next);
                *known = next.max(*known);
            }
        }
        Ok(Token(positions))
    }
}

fn read_place(place: &str) -> Option<(i32, NextOffset)> {
    let (partition, offset) = place.split_once('@')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(partition) || !digits(offset) {
        return None;
    }
    let offset: i64 = offset.parse().ok()?;
    // The largest number has no next one.
    Some((partition.parse().ok()?, NextOffset(offset.checked_add(1)?)))
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last: Option<&str> = None;
        for (TopicPartition { topic, partition }, next) in &self.0 {
            match last {
                Some(last) if *last == **topic => f.write_str(",")?,
                Some(_) => write!(f, ";{topic}:")?,
                None => write!(f, "{topic}:")?,
            }
            last = Some(topic);
            write!(f, "{partition}@{}", next.0 - 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_producer_is_told_is_a_token() {
        let acknowledged = Token::of_event(TopicPartition::new("flights", 3), Offset(41));
        assert_eq!(acknowledged.to_string(), "flights:3@41");
        let token: Token = "flights:3@41".parse().expect("a token");
        assert_eq!(token, acknowledged);
        let (_, next) = token.partitions().next().expect("a partition");
        assert!(next.includes(Offset(41)) && !next.includes(Offset(42)));
    }

    #[test]
    fn several_positions_are_one_token_and_the_highest_counts() {
        let token: Token = "orders:1@0;flights:3@7,0@41;flights:3@5"
            .parse()
            .expect("a token");
        assert_eq!(token.to_string(), "flights:0@41,3@7;orders:1@0");
    }

    #[test]
    fn what_is_no_token_is_refused_with_the_part_at_fault() {
        let cases = [
            "",
            "flights",
            "flights:",
            "flights:1",
            "flights:1@",
            "flights:@1",
            "flights:-1@1",
            "flights:1@-1",
            "flights:1@+1",
            "flights:1@1,",
            "flights:1@1;",
            ":1@1",
            "fl ghts:1@1",
            "flights:1@9223372036854775807",
            "flights:2147483648@1",
        ];
        for case in cases {
            let refused = case.parse::<Token>().expect_err(case).to_string();
            assert!(
                refused.contains("write TOPIC:PARTITION@OFFSET"),
                "{refused}"
            );
        }
        let long = "x".repeat(10_000);
        let refused = long.parse::<Token>().expect_err("no token").to_string();
        assert!(refused.len() < 200, "{refused}");
    }

    proptest! {
        #[test]
        fn a_token_is_read_as_it_is_written(
            positions in prop::collection::btree_map(
                ("[a-zA-Z0-9._-]{1,9}", 0..i32::MAX), 1..i64::MAX, 1..9,
            ),
        ) {
            let positions = positions.into_iter().map(|((topic, partition), next)| {
                (TopicPartition::new(topic, partition), NextOffset(next))
            });
            let token = Token::of_positions(positions).expect("there are some");
            prop_assert_eq!(token.to_string().parse::<Token>(), Ok(token));
        }

        #[test]
        fn no_text_brings_the_reader_down(text in "[a-b0-9:;,@.-]{0,40}") {
            if let Ok(token) = text.parse::<Token>() {
                prop_assert_eq!(token.to_string().parse::<Token>(), Ok(token));
            }
        }
    }
}
