//! Connects, and refuses at once what could never work: a standalone server, an old one, wrong
//! credentials.
//!
//! Guarantee: no message and no address contains a password.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{
    Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, ServerAddress,
    Tls, TlsOptions, WriteConcern,
};
use tokio::net::TcpStream;

use super::command::CHECKPOINTS;
use super::error::Failure;
use super::operation::{self, Operations, Width};
use super::sessions::Sessions;
use super::{MongoStore, REQUEST_TIMEOUT, Shared, uri};
use crate::store::Error;

/// How long to look for a server; the caller repeats what fails.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may take for what is asked to find out why it did not answer.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);

/// MongoDB's own.
const PORT: u16 = 27017;

/// A few transactions in flight, the loads of the next batches, and the commands of operators.
const POOL_CONNECTIONS_MAX: u32 = 32;

/// For a question to one server.
const ONE: Width = Width {
    turns: 1,
    places: 1,
};

/// The wire version of MongoDB 6.0.
const WIRE_VERSION_MIN: i32 = 17;

/// How long a write waits for a majority before the server says that it does not know.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

impl MongoStore {
    /// Connects to a replica set or a sharded cluster, and checks that it can hold views.
    ///
    /// The URI's options count, but for what the promises need: reads from the primary with read
    /// concern majority, writes with majority and journal, retryable writes.
    pub async fn connect(uri: &str, database: &str) -> Result<MongoStore, Error> {
        let mut options = parse(uri, database).await?;
        promise(&mut options);
        let address = address(&options.hosts, database);
        let pipeline = Operations::new(options.clone(), database, width(&options));
        let pipeline = Arc::new(pipeline.map_err(|error| Error::Refused {
            address: address.clone(),
            message: Failure::Driver(error).to_string(),
        })?);
        let sessions = Sessions::start(&pipeline).await;
        let sessions = sessions.map_err(|failure| Error::Unavailable {
            address: address.clone(),
            source: Box::new(failure),
        })?;
        let store = MongoStore {
            operations: Arc::clone(&pipeline),
            shared: Arc::new(Shared {
                address,
                options: options.clone(),
                pipeline,
                readers: OnceLock::new(),
                operators: OnceLock::new(),
                sessions: Arc::new(sessions),
                newest: AtomicU64::new(0),
            }),
        };
        match hello(&store.operations).await {
            Ok(hello) => store.check_server(&hello).await?,
            Err(failure) => {
                store.diagnose(&failure, options).await?;
                return Err(failure.at(&store.place("connect")));
            }
        }
        store.check_access().await?;
        Ok(store)
    }

    async fn check_server(&self, hello: &Document) -> Result<(), Error> {
        if let Some(message) = without_transactions(hello) {
            return Err(self.refused(message.to_owned()));
        }
        let wire_version = hello.get_i32("maxWireVersion").unwrap_or_default();
        if wire_version < WIRE_VERSION_MIN {
            return Err(self.refused(format!(
                "MongoDB 6.0 or newer is needed, and this server is older (wire version \
                 {wire_version}); upgrade it"
            )));
        }
        Ok(())
    }

    /// Where the driver finds no primary, asks the first host itself for a reason that waiting
    /// will not remove, or that the driver's own does not name.
    async fn diagnose(&self, failure: &Failure, mut options: ClientOptions) -> Result<(), Error> {
        let Failure::Driver(error) = failure else {
            return Ok(());
        };
        if !matches!(*error.kind, ErrorKind::ServerSelection { .. }) {
            return Ok(());
        }
        let expected = options.repl_set_name.take();
        options.hosts.truncate(1);
        options.direct_connection = Some(true);
        options.load_balanced = None;
        if !accepts(&options.hosts).await {
            return Ok(());
        }
        let Ok(one) = Operations::new(options.clone(), self.operations.database_name(), ONE) else {
            return Ok(());
        };
        let Ok(hello) = hello(&one).await else {
            return self.diagnose_silence(options).await;
        };
        if let Some(message) = without_transactions(&hello) {
            return Err(self.refused(message.to_owned()));
        }
        match (expected, hello.get_str("setName")) {
            (Some(expected), Ok(name)) if expected != name => Err(self.refused(format!(
                "the server belongs to the replica set \"{name}\", and the URI says \
                 replicaSet={expected}; correct the URI"
            ))),
            _ => Ok(()),
        }
    }

    /// The host accepts connections and says nothing that the driver understands: it may be asked
    /// in the other way, with TLS or without.
    async fn diagnose_silence(&self, mut options: ClientOptions) -> Result<(), Error> {
        // Nothing secret goes to a server that is not known yet.
        options.credential = None;
        options.server_selection_timeout = Some(SILENCE_TIMEOUT);
        let (other, message) = match &options.tls {
            Some(Tls::Enabled(_)) => (
                Tls::Disabled,
                "the server answers without TLS, and the URI asks for it (tls=true, or \
                 mongodb+srv); write tls=false, or switch TLS on at the server",
            ),
            Some(Tls::Disabled) | None => (
                Tls::Enabled(
                    TlsOptions::builder()
                        .allow_invalid_certificates(true)
                        .build(),
                ),
                "the server answers with TLS only, and the URI does not ask for it; add tls=true",
            ),
        };
        options.tls = Some(other);
        let Ok(one) = Operations::new(options, self.operations.database_name(), ONE) else {
            return Ok(());
        };
        match hello(&one).await {
            Ok(_) => Err(self.refused(message.to_owned())),
            Err(_) => Err(Error::Unavailable {
                address: self.shared.address.clone(),
                source: "it accepts connections and answers nothing; it is stopped or overloaded, \
                         or something else has its port"
                    .into(),
            }),
        }
    }

    /// Tries what every later request needs: the right to read, with read concern majority.
    async fn check_access(&self) -> Result<(), Error> {
        let find = doc! {
            "find": CHECKPOINTS,
            "limit": 1,
            "singleBatch": true,
            "readConcern": { "level": "majority" },
        };
        let reply = self.ask(|database| async move { database.run_command(find).await });
        reply
            .await
            .map(drop)
            .map_err(|failure| failure.at(&self.place("read")))
    }

    pub(super) fn refused(&self, message: String) -> Error {
        Error::Refused {
            address: self.shared.address.clone(),
            message,
        }
    }
}

/// Whether the first of these hosts takes a connection.
async fn accepts(hosts: &[ServerAddress]) -> bool {
    let Some(ServerAddress::Tcp { host, port }) = hosts.first() else {
        return true;
    };
    let address = (host.as_str(), port.unwrap_or(PORT));
    let connected = tokio::time::timeout(SILENCE_TIMEOUT, TcpStream::connect(address));
    matches!(connected.await, Ok(Ok(_)))
}

async fn hello(operations: &Operations) -> Result<Document, Failure> {
    let hello = operations.ask(REQUEST_TIMEOUT, |database| async move {
        let admin = database.client().database("admin");
        admin.run_command(doc! { "hello": 1 }).await
    });
    hello.await
}

async fn parse(uri: &str, database: &str) -> Result<ClientOptions, Error> {
    uri::check(uri).map_err(|message| Error::Refused {
        address: format!("MongoDB database \"{database}\""),
        message,
    })?;
    let failure = match operation::parse(uri).await {
        Ok(options) => return Ok(options),
        Err(failure) => failure,
    };
    let address = format!("MongoDB database \"{database}\"");
    let resolution = match &failure {
        Failure::Driver(error) => matches!(*error.kind, ErrorKind::DnsResolve { .. }),
        Failure::NoAnswer(_) => true,
        Failure::Reply(_) | Failure::Trouble { .. } | Failure::Rejected { .. } => false,
    };
    let text = uri::complaint(uri).await;
    Err(if resolution {
        Error::Unavailable {
            address,
            source: text.into(),
        }
    } else {
        Error::Refused {
            address,
            message: format!("the URI is not valid: {text}"),
        }
    })
}

/// Sets what the store's promises rest on, and leaves the rest to the URI.
fn promise(options: &mut ClientOptions) {
    options.app_name = Some("projectionist".to_owned());
    options.write_concern = Some(write_concern());
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.retry_writes = Some(true);
    options
        .server_selection_timeout
        .get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.max_pool_size.get_or_insert(POOL_CONNECTIONS_MAX);
}

/// The pipeline waits for whatever it asks, so it has as many turns as places.
fn width(options: &ClientOptions) -> Width {
    let connections = options.max_pool_size.unwrap_or(POOL_CONNECTIONS_MAX);
    Width {
        turns: connections,
        places: connections,
    }
}

/// Stored by a majority, and in their journals.
pub(super) fn write_concern() -> WriteConcern {
    WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .w_timeout(WRITE_TIMEOUT)
        .build()
}

/// Why a server that answers so has no transactions, and the way out.
fn without_transactions(hello: &Document) -> Option<&'static str> {
    let router = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
    if router || hello.contains_key("setName") {
        None
    } else if hello.get_bool("isreplicaset").unwrap_or(false) {
        Some("this is a member of a replica set that is not set up yet; run rs.initiate() on it")
    } else {
        Some(
            "this is a standalone server, and transactions need a replica set; start mongod with \
             --replSet and run rs.initiate()",
        )
    }
}

/// What users know the store by: hosts and database.
fn address(hosts: &[ServerAddress], database: &str) -> String {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    format!("mongodb://{}/{database}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_without_transactions_are_told_apart() {
        let cases = [
            ("replica set", doc! { "setName": "rs0" }, None),
            ("router", doc! { "msg": "isdbgrid" }, None),
            ("standalone", doc! { "ok": 1 }, Some("standalone server")),
            (
                "not initiated",
                doc! { "isreplicaset": true },
                Some("rs.initiate() on it"),
            ),
        ];
        for (name, hello, expected) in cases {
            let message = without_transactions(&hello);
            match expected {
                None => assert_eq!(message, None, "{name}"),
                Some(part) => assert!(message.is_some_and(|m| m.contains(part)), "{name}"),
            }
        }
    }

    #[tokio::test]
    async fn a_wrong_uri_is_refused_without_its_password() {
        let uris = [
            "mongodb://user:s3cret@host:port/db",
            "mongodb://user:s3c/ret@host/db",
            "mongodb://user:s3cret:x@host/db",
            "mongodb://user:s3cret@host/?w=majority&journal=maybe",
            "mongodb://host/?authMechanismProperties=s3cret",
            "mongodb://host/?tlsCertificateKeyFilePassword=s3cret&journal=maybe",
            "mongodb://host/?pasword=s3cret",
            "s3cret",
        ];
        for uri in uris {
            let error = parse(uri, "db").await.expect_err(uri);
            assert!(!error.is_transient(), "{uri}");
            let text = format!("{error} {error:?}");
            assert!(!text.contains("s3c") && !text.contains("ret@"), "{text}");
            assert!(text.contains("the URI is not valid"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_password_of_one_letter_mangles_no_message() {
        let uri = "mongodb://p:a@host/?journal=maybe";
        let error = parse(uri, "db").await.expect_err("a wrong option");
        let text = error.to_string();
        assert!(
            text.contains("argument") && text.contains("journal"),
            "{text}"
        );
        assert!(!text.contains('*'), "{text}");
    }

    #[tokio::test]
    async fn the_uri_decides_but_for_the_promises() {
        let uri = "mongodb://u:p@a,b:1/?w=1&readPreference=secondary&maxPoolSize=3";
        let mut options = parse(uri, "db").await.expect("a valid URI");
        promise(&mut options);
        assert_eq!(options.write_concern, Some(write_concern()));
        assert_eq!(
            options.selection_criteria,
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        );
        assert_eq!(options.max_pool_size, Some(3));
        assert_eq!(address(&options.hosts, "db"), "mongodb://a:27017,b:1/db");
    }
}
