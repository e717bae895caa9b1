//! Why a partition stands still: a word that stays the same, for alerts and runbooks, and a
//! sentence that names the thing, the place and the way out.
//!
//! Not here: when a partition stops (`domain`, `runner`), and how that is shown
//! (`telemetry::health`).

use std::sync::Arc;

use crate::projection::DocumentId;
use crate::record::{NextOffset, Offset, TopicPartition};
use crate::store::{Table, ViewId};

/// Why a partition stands still until somebody acts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// Retention, or somebody, deleted events before they were folded.
    #[error(
        "the events of {partition} from offset {next} up to {low} were deleted from the topic \
         before projection \"{projection}\" folded them; lengthen the topic's retention, and give \
         the projection another database or file to build its views anew from what is left"
    )]
    OffsetGone {
        projection: Arc<str>,
        partition: TopicPartition,
        next: NextOffset,
        low: NextOffset,
    },
    /// The topic is another one than the one that was folded.
    #[error(
        "projection \"{projection}\" has folded {partition} up to offset {next}, but {evidence}: it \
         was deleted and made again; give the projection another database or file to build its \
         views anew"
    )]
    TopicReplaced {
        projection: Arc<str>,
        partition: TopicPartition,
        next: NextOffset,
        evidence: String,
    },
    /// The log lost records that were folded, and has others in their place.
    #[error(
        "projection \"{projection}\" has folded {partition} up to offset {next}, but {evidence}: a \
         broker has lost the end of the partition's log (an unclean election, a disk), and others \
         were written in its place; give the projection another database or file to build its \
         views anew"
    )]
    LogTruncated {
        projection: Arc<str>,
        partition: TopicPartition,
        next: NextOffset,
        evidence: String,
    },
    /// What the log has there cannot be read.
    #[error(
        "the record of {partition} at offset {next}, or the batch that it is in, cannot be read: \
         {cause}; nothing is lost: every event before it is stored. Where another replica is whole, \
         make its broker the leader (kafka-leader-election.sh), and this goes on by itself; else move \
         the topic's start behind the damage (kafka-delete-records.sh) and give the projection \
         another database or file to build its views anew from what is left"
    )]
    RecordUnreadable {
        partition: TopicPartition,
        next: NextOffset,
        cause: String,
    },
    /// The plugin cannot fold this event, and it is not to be parked, or cannot be.
    #[error(
        "projection \"{projection}\" cannot fold the event at {partition}, offset {offset}{why}"
    )]
    EventRefused {
        projection: Arc<str>,
        partition: TopicPartition,
        offset: Offset,
        /// What follows, with its punctuation: the reason and the way out.
        why: String,
    },
    /// The store takes none of what is made of the events, or not what the host keeps for itself.
    #[error(
        "the store does not take what projection \"{projection}\" makes of {partition} from offset \
         {next} on{why}"
    )]
    DocumentsRefused {
        projection: Arc<str>,
        partition: TopicPartition,
        next: NextOffset,
        /// What follows, with its punctuation: the reason and the way out.
        why: String,
    },
    /// A foreign hand in a view.
    #[error(
        "document \"{id}\" of view {view} was changed by somebody else; only projection \
         \"{projection}\" may write there, so keep others away from the collection, restore the \
         document and start again"
    )]
    DocumentChanged {
        projection: Arc<str>,
        view: ViewId,
        id: DocumentId,
    },
    /// A foreign hand in what the host keeps for itself.
    #[error(
        "entry \"{id}\" of {table} was changed by somebody else; only projection \"{projection}\" \
         may write there: restore the entry and start again"
    )]
    EntryChanged {
        projection: Arc<str>,
        table: Table,
        id: Arc<str>,
    },
    /// The store refuses what every claim and commit needs, such as a privilege.
    #[error("{0}")]
    StoreRefused(String),
    /// Kafka refuses to tell what the topic holds.
    #[error("{0}")]
    KafkaRefused(String),
    /// Kafka does not take the partition's messages, which are kept meanwhile.
    #[error("{0}")]
    MessagesRefused(String),
    /// Whatever has no word of its own yet. The text names the way out.
    #[error("{0}")]
    Other(String),
}

impl StopReason {
    /// A word for programs; it never changes.
    pub fn code(&self) -> &'static str {
        match self {
            StopReason::OffsetGone { .. } => "offset-gone",
            StopReason::TopicReplaced { .. } => "topic-replaced",
            StopReason::LogTruncated { .. } => "log-truncated",
            StopReason::RecordUnreadable { .. } => "record-unreadable",
            StopReason::EventRefused { .. } => "event-refused",
            StopReason::DocumentsRefused { .. } => "documents-refused",
            StopReason::DocumentChanged { .. } => "document-changed",
            StopReason::EntryChanged { .. } => "entry-changed",
            StopReason::StoreRefused(_) => "store-refused",
            StopReason::KafkaRefused(_) => "kafka-refused",
            StopReason::MessagesRefused(_) => "messages-refused",
            StopReason::Other(_) => "other",
        }
    }

    /// True where others may put it right without this host's being told, so that the partition is
    /// claimed again now and then. Nothing is lost by that: whatever is not right yet stops it again.
    pub fn may_pass(&self) -> bool {
        match self {
            StopReason::StoreRefused(_)
            | StopReason::KafkaRefused(_)
            | StopReason::MessagesRefused(_)
            // Another replica may lead by then.
            | StopReason::RecordUnreadable { .. } => true,
            StopReason::OffsetGone { .. }
            | StopReason::TopicReplaced { .. }
            | StopReason::LogTruncated { .. }
            | StopReason::EventRefused { .. }
            | StopReason::DocumentsRefused { .. }
            | StopReason::DocumentChanged { .. }
            | StopReason::EntryChanged { .. }
            | StopReason::Other(_) => false,
        }
    }
}

impl From<String> for StopReason {
    fn from(text: String) -> Self {
        StopReason::Other(text)
    }
}
