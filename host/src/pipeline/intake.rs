//! What the pipeline and the source of its events say to one another.
//!
//! The source (`kafka::consumer`) follows a consumer group: it is told of assignments and
//! revocations and waits for neither. It announces each with a [`Notice`], goes on polling, and
//! carries it out when the pipeline answers with a [`Command`].

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::failure::Failure;
use super::queue::{Sender, Waker};
use crate::record::{Generation, LastRecord, NextOffset, TopicId, TopicPartition};

/// From the source.
#[derive(Debug)]
pub enum Notice {
    /// The group gave these partitions to this host, on top of those it has. The list may be
    /// empty. To be answered at once with [`Command::Acknowledge`]: the source fetches nothing
    /// before, and the group waits for this host.
    ///
    /// None of them is one whose revocation is still to be answered: the host's part in a
    /// rebalance is over with its answer, and only then is there another.
    Assigned(Vec<TopicPartition>),
    /// The group takes these partitions away. They are kept until the answer,
    /// [`Command::Release`], comes, and no other host has them before that, unless `lost`.
    Revoked {
        partitions: Vec<TopicPartition>,
        /// The group has given them to others already; draining would be in vain.
        lost: bool,
    },
    /// The source stands at positions that it cannot read; everything before them it has sent. Where it
    /// does not know which of its partitions it is, it names where each stands. One that is right
    /// after all is to be answered with [`Command::FetchAgain`].
    OutOfRange(Vec<Standing>),
    /// What stands there cannot be read, however often, for this reason. Everything before it is
    /// sent; the source takes nothing more from the partition.
    Unreadable(Standing, String),
    /// The partition's log is not the one that was read before, which shows by this. The source takes
    /// nothing more from the partition.
    Diverged(Standing, String),
    /// One of these topics, which the source reads, may have been deleted.
    TopicsInDoubt(Vec<String>),
    /// How far these partitions reach, as the source saw it last.
    Ends(Vec<(TopicPartition, NextOffset)>),
    /// The source cannot be reached; it goes on trying.
    Unreachable(String),
    /// The source can be reached, or can be again. Told now and then.
    Reachable,
    /// The source cannot go on.
    Failed(Failure),
}

/// Where the source stands in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub partition: TopicPartition,
    pub generation: Generation,
    /// The next offset to fetch.
    pub next: NextOffset,
}

/// To the source.
#[derive(Debug)]
pub enum Command {
    /// Answers one [`Notice::Assigned`].
    Acknowledge,
    /// Start fetching these, as soon as no notice waits for its answer. What is fetched already
    /// is fetched from there instead.
    Fetch(Vec<Start>),
    /// Fetch a partition again from where the source stands, if it still stands there.
    FetchAgain(Standing),
    /// Let go of them. Answers one [`Notice::Revoked`].
    Release(Vec<TopicPartition>),
    /// Report what is stored, leave the group and end.
    Leave,
}

/// Where to start fetching a partition, and where its events go.
#[derive(Debug)]
pub struct Start {
    pub next: NextOffset,
    /// The last record that was read before `next`, where it is known and the topic still holds it.
    /// Fetching starts there, so that the source can tell whether it is still the same.
    pub known: Option<LastRecord>,
    pub queue: Sender,
}

impl Start {
    /// Where to start fetching.
    pub fn fetch_from(&self) -> NextOffset {
        let known = self.known.map(|known| NextOffset(known.offset.0));
        known.map_or(self.next, |known| known.min(self.next))
    }
}

/// What topics still hold.
#[async_trait]
pub trait Positions: Send + Sync + 'static {
    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, PositionsError>;

    /// Whether there is such a topic, by what one of the brokers knows now.
    async fn exists(&self, topic: &str) -> Result<bool, PositionsError>;

    /// What the cluster calls the topic; `None` where it does not tell, or has no such topic.
    async fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, PositionsError>;
}

/// The events of a partition are those in `low..high`, less what compaction removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub low: NextOffset,
    pub high: NextOffset,
}

/// Why nothing is known of a topic.
#[derive(Debug, thiserror::Error)]
pub enum PositionsError {
    /// Worth asking again, for as long as it takes.
    #[error("cannot read the positions of {what}")]
    Unavailable {
        /// A topic, or a partition of it.
        what: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Asking again cannot help. The text names the way out.
    #[error("cannot read the positions of {what}: {message}")]
    Refused { what: String, message: String },
}

/// How the pipeline speaks to its source.
#[derive(Clone, Debug)]
pub struct SourceHandle {
    pub commands: mpsc::Sender<Command>,
    /// To be called after sending a command.
    pub waker: Waker,
}

/// The source has ended.
#[derive(Debug, thiserror::Error)]
#[error("the consumer has ended")]
pub struct SourceEnded;

impl SourceHandle {
    pub async fn send(&self, command: Command) -> Result<(), SourceEnded> {
        self.commands.send(command).await.map_err(|_| SourceEnded)?;
        self.waker.wake();
        Ok(())
    }
}
