//! What Kafka's error codes mean to a projection: the one place that sorts them.
//!
//! Guarantee: what is not listed here passes. librdkafka tries again by itself after everything
//! that may pass, so nothing that is transient ever stops a projection.

use rdkafka::error::RDKafkaErrorCode as Code;

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing need be: one connection of several, a coordinator that moves.
    Passing,
    /// No broker can be reached.
    Away,
    /// The credentials are wrong, or a connection broke while they were looked at: librdkafka
    /// does not tell these apart. The former stays.
    NotAuthenticated,
    /// A topic or partition is not there. A broker that has just started says so of any.
    Missing,
    /// A position that the topic does not hold.
    OutOfRange,
    /// What stands at a position cannot be read.
    Unreadable,
    /// The client has given up, for a reason that it is to be asked for.
    GivenUp,
    /// Not for as long as nobody puts it right; the text is the way out.
    Refused(&'static str),
    /// Trying again cannot help, for this host itself is in the way; the text is the way out.
    Never(&'static str),
}

pub(super) fn meaning(code: Code) -> Meaning {
    match code {
        Code::AllBrokersDown => Meaning::Away,
        Code::Authentication => Meaning::NotAuthenticated,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            Meaning::Missing
        }
        Code::AutoOffsetReset | Code::OffsetOutOfRange => Meaning::OutOfRange,
        Code::BadMessage
        | Code::InvalidMessage
        | Code::BadCompression
        | Code::NotImplemented
        | Code::MessageSizeTooLarge => Meaning::Unreadable,
        Code::Fatal => Meaning::GivenUp,
        Code::TopicAuthorizationFailed => Meaning::Refused(
            "grant this host's user the operations Read and Describe on the projection's topics",
        ),
        Code::GroupAuthorizationFailed => Meaning::Refused(
            "grant this host's user the operation Read on the projection's group (group-id)",
        ),
        Code::ClusterAuthorizationFailed => {
            Meaning::Refused("grant this host's user what it asks of the cluster")
        }
        Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => Meaning::Refused(CREDENTIALS),
        Code::SecurityDisabled => {
            Meaning::Refused("the brokers have no authorizer, or security.protocol is another")
        }
        // To try again would put the other one out, and so on for ever.
        Code::FencedInstanceId | Code::UnreleasedInstanceId => Meaning::Never(
            "another host has joined the group under this host's name, which \
             kafka.static-membership makes its identity; give each host a host.name of its own",
        ),
        Code::InconsistentGroupProtocol => Meaning::Refused(
            "other members of the group share partitions in another way; give the projection a \
             group-id that no other program has, and all its hosts the same kafka.group-protocol",
        ),
        Code::InvalidGroupId => Meaning::Never("correct the projection's group-id"),
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedAssignor => {
            Meaning::Refused(
                "the brokers do not know what this host asks for; kafka.group-protocol = \
                 \"consumer\" needs Kafka 4.0 or newer, and \"classic\" does not",
            )
        }
        _ => Meaning::Passing,
    }
}

/// What to do about wrong credentials.
pub(super) const CREDENTIALS: &str = "correct sasl.username, sasl.password and sasl.mechanism, or \
                                      the certificates, in [kafka.properties]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_another_configuration_is_not_tried_again() {
        let never = |code| matches!(meaning(code), Meaning::Never(_));
        for code in [
            Code::FencedInstanceId,
            Code::UnreleasedInstanceId,
            Code::InvalidGroupId,
        ] {
            assert!(never(code), "{code:?}");
        }
        for code in [
            Code::TopicAuthorizationFailed,
            Code::GroupAuthorizationFailed,
            Code::SaslAuthenticationFailed,
            Code::InconsistentGroupProtocol,
        ] {
            assert!(!never(code), "{code:?}");
        }
    }

    #[test]
    fn only_what_cannot_pass_stops_a_projection() {
        let cases = [
            (Code::AllBrokersDown, "away"),
            (Code::Authentication, "unauthenticated"),
            (Code::UnknownTopicOrPartition, "missing"),
            (Code::UnknownTopic, "missing"),
            (Code::UnknownPartition, "missing"),
            (Code::AutoOffsetReset, "out of range"),
            (Code::OffsetOutOfRange, "out of range"),
            (Code::Fatal, "given up"),
            (Code::TopicAuthorizationFailed, "Read and Describe"),
            (Code::GroupAuthorizationFailed, "group-id"),
            (Code::ClusterAuthorizationFailed, "of the cluster"),
            (Code::SaslAuthenticationFailed, "sasl.password"),
            (Code::UnsupportedSASLMechanism, "sasl.mechanism"),
            (Code::IllegalSASLState, "sasl.mechanism"),
            (Code::SecurityDisabled, "security.protocol"),
            (Code::FencedInstanceId, "host.name"),
            (Code::UnreleasedInstanceId, "host.name"),
            (Code::InconsistentGroupProtocol, "group-id"),
            (Code::InvalidGroupId, "group-id"),
            (Code::UnsupportedVersion, "group-protocol"),
            (Code::UnsupportedFeature, "group-protocol"),
            (Code::UnsupportedAssignor, "group-protocol"),
            // A network or a broker that fails.
            (Code::BrokerTransportFailure, "passes"),
            (Code::OperationTimedOut, "passes"),
            (Code::RequestTimedOut, "passes"),
            (Code::Resolve, "passes"),
            (Code::SSL, "passes"),
            (Code::NetworkException, "passes"),
            (Code::BrokerNotAvailable, "passes"),
            (Code::LeaderNotAvailable, "passes"),
            (Code::NotLeaderForPartition, "passes"),
            (Code::ReplicaNotAvailable, "passes"),
            (Code::KafkaStorageError, "passes"),
            (Code::FencedLeaderEpoch, "passes"),
            (Code::UnknownLeaderEpoch, "passes"),
            (Code::UnknownTopicId, "passes"),
            (Code::OffsetNotAvailable, "passes"),
            // A group that changes.
            (Code::CoordinatorLoadInProgress, "passes"),
            (Code::CoordinatorNotAvailable, "passes"),
            (Code::NotCoordinator, "passes"),
            (Code::WaitingForCoordinator, "passes"),
            (Code::RebalanceInProgress, "passes"),
            (Code::IllegalGeneration, "passes"),
            (Code::UnknownMemberId, "passes"),
            (Code::MemberIdRequired, "passes"),
            (Code::FencedMemberEpoch, "passes"),
            (Code::StaleMemberEpoch, "passes"),
            (Code::GroupMaxSizeReached, "passes"),
            (Code::PollExceeded, "passes"),
            (Code::AssignmentLost, "passes"),
            // An event that a network or a disk has mangled: tried again a few times.
            (Code::BadMessage, "unreadable"),
            (Code::InvalidMessage, "unreadable"),
            (Code::BadCompression, "unreadable"),
            (Code::NotImplemented, "unreadable"),
            (Code::MessageSizeTooLarge, "unreadable"),
            (Code::Unknown, "passes"),
        ];
        for (code, expected) in cases {
            let text = match meaning(code) {
                Meaning::Passing => "passes",
                Meaning::Away => "away",
                Meaning::NotAuthenticated => "unauthenticated",
                Meaning::Missing => "missing",
                Meaning::OutOfRange => "out of range",
                Meaning::Unreadable => "unreadable",
                Meaning::GivenUp => "given up",
                Meaning::Refused(way_out) | Meaning::Never(way_out) => way_out,
            };
            assert!(text.contains(expected), "{code:?}: {text}");
        }
    }
}
