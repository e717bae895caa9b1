//! Sorts what goes wrong between this host and MongoDB by what can be done about it.
//!
//! Guarantee: by error codes, labels and kinds, never by a message's wording. What is not known
//! to be permanent counts as an outage, which the caller waits out. Of those who only read it is the
//! other way around ([`Failure::at_read`]): nobody waits an outage out there, and what one request
//! runs into must not count against the store, which others read as well.
//!
//! Codes: `src/mongo/base/error_codes.yml` of the server; labels: the drivers' transactions
//! specification.

use std::time::Duration;

use mongodb::error::{
    Error as DriverError, ErrorKind, TRANSIENT_TRANSACTION_ERROR,
    UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteFailure,
};

use crate::store;

/// What can be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Another transaction holds or has just changed a document. Nothing was stored.
    Conflict,
    /// The transaction is gone; the same one may pass. Nothing was stored.
    Transient,
    /// The request was ended from outside: a claim does so with what the partition's last owner
    /// has under way, of whatever partitions.
    Interrupted,
    /// The transaction may have been committed or not.
    Unknown,
    /// The transaction is more than the server takes.
    TooLarge,
    /// Trying again cannot help.
    Refused,
    /// Trying again later may help.
    Unavailable,
}

/// Why MongoDB did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The driver's own text lists labels and replies; its kind says what happened.
    #[error("{}", .0.kind)]
    Driver(DriverError),
    #[error("no answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    #[error("{0}")]
    Reply(&'static str),
    /// A write failed for a reason that is not the document's.
    #[error("{message} (code {code})")]
    Trouble { code: i32, message: String },
    /// The server will not store a document, or an entry.
    #[error("{text}")]
    Rejected { code: i32, text: String },
}

pub(super) mod code {
    pub(crate) const UNAUTHORIZED: i32 = 13;
    pub(crate) const NAMESPACE_EXISTS: i32 = 48;
    pub(crate) const WRITE_CONFLICT: i32 = 112;
    pub(crate) const DUPLICATE_KEY: i32 = 11000;
    pub(crate) const MAX_TIME_EXPIRED: i32 = 50;
    pub(crate) const INTERRUPTED: i32 = 11601;

    /// A transaction, or a document of it, is more than the server takes.
    pub(crate) const TOO_LARGE: &[i32] = &[
        257,   // TransactionTooLarge
        388,   // TransactionTooLargeForCache
        10334, // BSONObjectTooLarge
        17280, // KeyTooLong
        17419, // an updated document is too large
        17420, // an updated document is too large
    ];

    /// The user does not exist, or has another password.
    pub(crate) const AUTHENTICATION: &[i32] = &[
        11,   // UserNotFound
        18,   // AuthenticationFailed
        334,  // MechanismUnavailable
        8000, // AtlasError: the answer of Atlas to wrong credentials
    ];

    /// A server that is away for now: it fails over, ends, starts, or has too much to do. All that a
    /// driver reads again after (the specification of retryable reads), and time-outs.
    pub(crate) const TRANSIENT: &[i32] = &[
        6,     // HostUnreachable
        7,     // HostNotFound
        43,    // CursorNotFound: the server was another one, or has started since
        50,    // MaxTimeMSExpired
        63,    // StaleShardVersion
        70,    // ShardNotFound
        89,    // NetworkTimeout
        91,    // ShutdownInProgress
        112,   // WriteConflict
        133,   // FailedToSatisfyReadPreference
        134,   // ReadConcernMajorityNotAvailableYet
        150,   // StaleEpoch
        175,   // QueryPlanKilled
        189,   // PrimarySteppedDown
        202,   // NetworkInterfaceExceededTimeLimit
        234,   // RetryChangeStream
        237,   // CursorKilled
        239,   // SnapshotTooOld
        246,   // SnapshotUnavailable
        249,   // StaleChunkHistory
        262,   // ExceededTimeLimit
        317,   // ConnectionPoolExpired
        384,   // ConnectionError
        391,   // ReauthenticationRequired
        462,   // IngressRequestRateLimitExceeded
        9001,  // SocketException
        10058, // NotWritablePrimary, of old
        10107, // NotWritablePrimary
        11600, // InterruptedAtShutdown
        11601, // Interrupted
        11602, // InterruptedDueToReplStateChange
        13388, // StaleConfig
        13435, // NotPrimaryNoSecondaryOk
        13436, // NotPrimaryOrSecondary
    ];

    /// The server will say the same again, whatever the time.
    pub(crate) const PERMANENT: &[i32] = &[
        2,     // BadValue
        9,     // FailedToParse
        14,    // TypeMismatch
        20,    // IllegalOperation
        22,    // InvalidBSON
        52,    // DollarPrefixedFieldName
        59,    // CommandNotFound
        72,    // InvalidOptions
        73,    // InvalidNamespace
        121,   // DocumentValidationFailure
        166,   // CommandNotSupportedOnView
        263,   // OperationNotSupportedInTransaction
        322,   // APIVersionError
        323,   // APIStrictError
        40415, // an unknown field in a command
    ];
}

/// Not as a source: the text above says it all, and the driver's own would say it again.
impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Failure::Driver(error)
    }
}

impl Failure {
    pub(super) fn class(&self) -> Class {
        match self {
            Failure::Driver(error) => classify(error),
            // The answer may still be on its way.
            Failure::NoAnswer(_) => Class::Unknown,
            Failure::Reply(_) => Class::Unavailable,
            Failure::Trouble { code, .. } => class_of_code(*code),
            Failure::Rejected { .. } => Class::Refused,
        }
    }

    /// The server's code, of a failed command or of a failed write.
    pub(super) fn code(&self) -> Option<i32> {
        match self {
            Failure::Driver(error) => server_code(error),
            Failure::Trouble { code, .. } | Failure::Rejected { code, .. } => Some(*code),
            Failure::NoAnswer(_) | Failure::Reply(_) => None,
        }
    }

    /// Turns the failure of one who only reads into the store's error.
    pub(super) fn at_read(self, place: &Place<'_>) -> store::Error {
        let address = place.address.to_owned();
        match read_fault(&self) {
            ReadFault::Outage => store::Error::Unavailable {
                address,
                source: Box::new(self),
            },
            ReadFault::Denial => store::Error::Denied {
                address,
                message: refusal(&self, place),
            },
            ReadFault::Request => store::Error::Refused {
                address,
                message: refusal(&self, place),
            },
        }
    }

    /// Turns the failure into the store's error.
    pub(super) fn at(self, place: &Place<'_>) -> store::Error {
        let address = place.address.to_owned();
        match self.class() {
            Class::Refused => store::Error::Refused {
                address,
                message: refusal(&self, place),
            },
            // Too large for a read or a claim means a server in need, not a wrong request.
            Class::Conflict
            | Class::Transient
            | Class::Interrupted
            | Class::Unknown
            | Class::TooLarge
            | Class::Unavailable => store::Error::Unavailable {
                address,
                source: Box::new(self),
            },
        }
    }
}

/// Where something failed, for messages.
pub(super) struct Place<'a> {
    pub(super) address: &'a str,
    pub(super) database: &'a str,
    /// What was tried: `read documents`.
    pub(super) action: &'a str,
}

fn refusal(failure: &Failure, place: &Place<'_>) -> String {
    let Place {
        database, action, ..
    } = place;
    match failure.code() {
        Some(code::UNAUTHORIZED) => format!(
            "not authorised to {action} in database \"{database}\"; grant the user the role \
             \"readWrite\" on that database"
        ),
        Some(code) if code::AUTHENTICATION.contains(&code) => wrong_credentials(failure),
        _ if is_authentication(failure) => wrong_credentials(failure),
        _ => format!("cannot {action} in database \"{database}\": {failure}"),
    }
}

fn wrong_credentials(failure: &Failure) -> String {
    format!(
        "the server does not accept the user name and password ({failure}); correct them in the \
         URI, and name the database that holds the user with authSource"
    )
}

fn is_authentication(failure: &Failure) -> bool {
    let Failure::Driver(error) = failure else {
        return false;
    };
    matches!(*error.kind, ErrorKind::Authentication { .. })
}

/// Whose fault it is that a read has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadFault {
    /// The server's, for now.
    Outage,
    /// The server's, for as long as nobody does something about it.
    Denial,
    /// The request's, or that of the documents that it is about.
    Request,
}

fn read_fault(failure: &Failure) -> ReadFault {
    match (failure, failure.code()) {
        (_, Some(code)) => read_fault_of_code(code),
        _ if is_authentication(failure) => ReadFault::Denial,
        (Failure::Driver(error), None) => match class_of_kind(&error.kind) {
            Class::Refused => ReadFault::Request,
            _ => ReadFault::Outage,
        },
        (Failure::NoAnswer(_) | Failure::Reply(_), None) => ReadFault::Outage,
        (Failure::Trouble { .. } | Failure::Rejected { .. }, None) => ReadFault::Request,
    }
}

fn read_fault_of_code(code: i32) -> ReadFault {
    if code::TRANSIENT.contains(&code) {
        ReadFault::Outage
    } else if code == code::UNAUTHORIZED || code::AUTHENTICATION.contains(&code) {
        ReadFault::Denial
    } else {
        ReadFault::Request
    }
}

fn classify(error: &DriverError) -> Class {
    // No server: whatever was to be done, it was not sent. At a commit the driver says otherwise
    // by a label.
    let unknown = error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT);
    if matches!(*error.kind, ErrorKind::ServerSelection { .. }) && !unknown {
        return Class::Unavailable;
    }
    let code = server_code(error);
    // Before the labels: the server marks some of these as transient, and they never pass.
    if code.is_some_and(|code| code::TOO_LARGE.contains(&code)) {
        return Class::TooLarge;
    }
    if code == Some(code::WRITE_CONFLICT) {
        return Class::Conflict;
    }
    if code == Some(code::INTERRUPTED) {
        return Class::Interrupted;
    }
    if error.contains_label(TRANSIENT_TRANSACTION_ERROR) {
        return Class::Transient;
    }
    if unknown {
        return Class::Unknown;
    }
    match code {
        Some(code) => class_of_code(code),
        None => class_of_kind(&error.kind),
    }
}

fn class_of_code(code: i32) -> Class {
    let permanent = code == code::UNAUTHORIZED
        || code == code::DUPLICATE_KEY
        || code::AUTHENTICATION.contains(&code)
        || code::PERMANENT.contains(&code);
    if permanent {
        Class::Refused
    } else {
        Class::Unavailable
    }
}

fn class_of_kind(kind: &ErrorKind) -> Class {
    match kind {
        ErrorKind::Authentication { .. }
        | ErrorKind::InvalidArgument { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::IncompatibleServer { .. }
        | ErrorKind::SessionsNotSupported
        | ErrorKind::Bson(_) => Class::Refused,
        // The driver's enum is open, and most of it is networks and servers that fail.
        _ => Class::Unavailable,
    }
}

fn server_code(error: &DriverError) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which a driver reads again: the specification of retryable reads, and what the driver
    /// has of it (`error.rs`).
    const RETRYABLE_READS: [i32; 13] = [
        6, 7, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436,
    ];

    #[test]
    fn what_a_driver_reads_again_after_is_an_outage() {
        for code in RETRYABLE_READS {
            assert_eq!(read_fault_of_code(code), ReadFault::Outage, "{code}");
        }
    }

    #[test]
    fn a_failed_read_is_the_servers_fault_only_where_that_is_known() {
        let cases: [(ReadFault, &[i32]); 3] = [
            (ReadFault::Outage, &[43, 50, 175, 202, 237, 11601, 462]),
            (ReadFault::Denial, &[11, 13, 18, 334, 8000]),
            // A key out of its range, a wrong argument, a hint without an index, too much memory, a
            // key of another order, an error of the server's own, and one that nobody knows.
            (
                ReadFault::Request,
                &[
                    2, 9, 96, 292, 10334, 17007, 51174, 51175, 51176, 1, 8, 99_999,
                ],
            ),
        ];
        for (fault, codes) in cases {
            for code in codes {
                assert_eq!(read_fault_of_code(*code), fault, "{code}");
            }
        }
    }
}
