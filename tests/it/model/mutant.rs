//! What the protocol would be without one of its parts.

/// A part that is left out. The model must notice each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A commit's checkpoint matches under any epoch.
    NoEpochInTheFilter,
    /// A claim leaves the epoch as it is.
    EpochNotRaised,
    /// A commit's checkpoint matches at any position.
    NoCompareAndSet,
    /// What folds parked events is not counted in the checkpoint.
    RepairsNotCounted,
    /// The checkpoint is moved to the last event, never behind the gap after it.
    LastOffsetInsteadOfPosition,
    /// Documents and entries are stored, then the checkpoint.
    CheckpointAfterTheDocuments,
    CheckpointBeforeTheDocuments,
    /// Ids are stored outside of the transaction.
    SeenBeforeTheTransaction,
    SeenAfterTheTransaction,
    /// Parked events are stored after the transaction.
    ParkedAfterTheTransaction,
    /// A request is removed after the transaction that does what it asks.
    RequestRemovedAfterTheTransaction,
    ParkedKeysLoadedBeforeTheClaim,
    SeenLoadedBeforeTheClaim,
    /// Fetching starts where the consumer said to Kafka that it was.
    FetchFromKafkasOffset,
    /// Records that were fetched under an earlier assignment are taken in.
    OldRecordsTaken,
    /// What became of a commit of an earlier assignment is taken for that of this one.
    OldCompletionTaken,
    /// A commit without an answer counts as stored.
    UnknownTakenForStored,
    /// A commit came to nothing, and the ids and keys of its events stay.
    RetractKeepsTheSieve,
    /// A commit came to nothing, and the documents that were folded stay.
    RetractKeepsTheCache,
    /// The documents of the claim before are kept.
    ClaimKeepsTheCache,
    /// A key is not parked any more as soon as its first events are folded.
    UnparkedBeforeTheLast,
    /// Parked events that another host has folded meanwhile count as missing.
    MissingEventsStopAFencedHost,
    /// Only the event at fault is parked, and later ones of its key are folded.
    LaterEventsOvertake,
}

impl Mutant {
    pub(crate) const ALL: [Mutant; 23] = [
        Mutant::NoEpochInTheFilter,
        Mutant::EpochNotRaised,
        Mutant::NoCompareAndSet,
        Mutant::RepairsNotCounted,
        Mutant::LastOffsetInsteadOfPosition,
        Mutant::CheckpointAfterTheDocuments,
        Mutant::CheckpointBeforeTheDocuments,
        Mutant::SeenBeforeTheTransaction,
        Mutant::SeenAfterTheTransaction,
        Mutant::ParkedAfterTheTransaction,
        Mutant::RequestRemovedAfterTheTransaction,
        Mutant::ParkedKeysLoadedBeforeTheClaim,
        Mutant::SeenLoadedBeforeTheClaim,
        Mutant::FetchFromKafkasOffset,
        Mutant::OldRecordsTaken,
        Mutant::OldCompletionTaken,
        Mutant::UnknownTakenForStored,
        Mutant::RetractKeepsTheSieve,
        Mutant::RetractKeepsTheCache,
        Mutant::ClaimKeepsTheCache,
        Mutant::UnparkedBeforeTheLast,
        Mutant::MissingEventsStopAFencedHost,
        Mutant::LaterEventsOvertake,
    ];
}
