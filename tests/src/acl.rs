//! Grants and takes back rights at a broker, in Kafka's own protocol: the tests' client has no call
//! for it, and Kafka's command line tool is not among the jars of a broker.
//!
//! <https://kafka.apache.org/protocol>: `CreateAcls` and `DeleteAcls`, version 1.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// What a user may do. Each implies `Describe`.
#[derive(Clone, Copy, Debug)]
pub enum Right<'a> {
    DescribeTopic(&'a str),
    ReadTopic(&'a str),
    WriteTopic(&'a str),
    ReadGroup(&'a str),
}

const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
const VERSION: i16 = 1;

const TIMEOUT: Duration = Duration::from_secs(10);

impl<'a> Right<'a> {
    /// The type of the resource, its name and the operation.
    fn codes(self) -> (i8, &'a str, i8) {
        const TOPIC: i8 = 2;
        const GROUP: i8 = 3;
        const READ: i8 = 3;
        const WRITE: i8 = 4;
        const DESCRIBE: i8 = 8;
        match self {
            Right::DescribeTopic(name) => (TOPIC, name, DESCRIBE),
            Right::ReadTopic(name) => (TOPIC, name, READ),
            Right::WriteTopic(name) => (TOPIC, name, WRITE),
            Right::ReadGroup(name) => (GROUP, name, READ),
        }
    }
}

/// Grants `right` to a user, from any host.
pub(crate) fn grant(broker: SocketAddr, user: &str, right: Right<'_>) -> anyhow::Result<()> {
    change(broker, CREATE_ACLS, user, right)
}

/// Takes back what [`grant`] has granted.
pub(crate) fn revoke(broker: SocketAddr, user: &str, right: Right<'_>) -> anyhow::Result<()> {
    change(broker, DELETE_ACLS, user, right)
}

/// One creation and one filter of deletions look the same.
fn change(broker: SocketAddr, api: i16, user: &str, right: Right<'_>) -> anyhow::Result<()> {
    const LITERAL: i8 = 3;
    const ALLOW: i8 = 3;
    let (resource, name, operation) = right.codes();
    let mut request = Vec::new();
    request.extend(api.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    put_string(&mut request, "tests")?;
    request.extend(1_i32.to_be_bytes());
    request.extend(resource.to_be_bytes());
    put_string(&mut request, name)?;
    request.extend(LITERAL.to_be_bytes());
    put_string(&mut request, &format!("User:{user}"))?;
    put_string(&mut request, "*")?;
    request.extend(operation.to_be_bytes());
    request.extend(ALLOW.to_be_bytes());

    let answer = ask(broker, &request)?;
    // Correlation id and throttle time, then the number of results and the first one's error.
    let number = |at: usize| -> anyhow::Result<i32> {
        let bytes = answer.get(at..at + 4).context("the answer is cut short")?;
        Ok(i32::from_be_bytes(bytes.try_into()?))
    };
    let results = number(8)?;
    let error = answer.get(12..14).context("the answer is cut short")?;
    let error = i16::from_be_bytes(error.try_into()?);
    anyhow::ensure!(
        results == 1 && error == 0,
        "{right:?} of {user}: {results} results, error {error}: {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

fn put_string(request: &mut Vec<u8>, text: &str) -> anyhow::Result<()> {
    request.extend(i16::try_from(text.len())?.to_be_bytes());
    request.extend(text.as_bytes());
    Ok(())
}

fn ask(broker: SocketAddr, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&broker, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&u32::try_from(request.len())?.to_be_bytes())?;
    stream.write_all(request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length))?];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
