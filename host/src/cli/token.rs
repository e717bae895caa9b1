//! `projectionist token`: a position as a token for the gateway.

use clap::Args;

use super::Failure;
use super::output::print_line;
use crate::gateway::token::Token as Position;
use crate::record::{Offset, TopicPartition};

#[derive(Debug, Args)]
pub(super) struct Token {
    /// The topic of an event
    topic: String,
    /// Its partition
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    /// Its offset, as the producer was told when the event was acknowledged
    #[arg(value_parser = clap::value_parser!(i64).range(0..i64::MAX))]
    offset: i64,
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        let partition = TopicPartition::new(self.topic, self.partition);
        let token = Position::of_event(partition, Offset(self.offset)).to_string();
        // A topic's name that Kafka does not take is none in a token either.
        let read: Result<Position, _> = token.parse();
        read.map_err(|error| Failure::Other(error.into()))?;
        Ok(print_line(&token)?)
    }
}
