//! Requests that nobody waits for any more: what they have asked of MongoDB costs the others
//! nothing, neither the pipeline nor later readers.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use projectionist_tests::host::{Host, free_address};
use projectionist_tests::kafka::Topic;
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::mongod::Mongod;
use projectionist_tests::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::hosts::{config_at, produce};
use crate::wire::{Mode, Wire};

/// Requests on each route, and how many of them are there at a time.
const GONE: usize = 1_000;
const AT_A_TIME: usize = 100;

/// A second, on a machine that does nothing else; without care it is minutes.
const SOON: Duration = Duration::from_secs(5);

/// A read whose question was lost ends with `gateway.read-timeout`, and then the store is left
/// alone for four seconds at most.
const LOST: Duration = Duration::from_secs(2 + 4);

/// Sends requests and hangs up before there is an answer.
fn hang_up(address: SocketAddr, path: &str) {
    for _ in 0..GONE / AT_A_TIME {
        let connections: Vec<TcpStream> = (0..AT_A_TIME)
            .map(|_| TcpStream::connect(address).expect("a connection"))
            .collect();
        for mut connection in connections {
            let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
            connection
                .write_all(request.as_bytes())
                .expect("it is taken");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_who_hang_up_delay_nothing() {
    let topic = Topic::create("abandoned", 1).await.expect("a topic");
    let database = Database::new("abandoned").await.expect("a database");
    let gateway = free_address().expect("a port");
    let config = config_at(&uri(), &topic, &database.name, gateway, "");
    let host = Host::start(&config).expect("a host");
    host.wait_until_ready().await;
    let key = ["k1".to_owned()];
    let token = produce(&topic, &key, 1);
    let fresh = |token: &str| format!("/views/tally/k1?after={token}&wait=20s");
    let answer = Connection::open(gateway).get(&fresh(&token), &[]);
    assert_eq!(answer.status, 200, "{answer:?}");

    let routes = [
        (gateway, format!("/views/tally/k1?after={token}")),
        (gateway, format!("/views/tally?sum=gte:0&after={token}")),
        (gateway, "/views/tally/k1".to_owned()),
        (config.listen, "/changes".to_owned()),
        (config.listen, "/parked".to_owned()),
        (config.listen, "/plugins".to_owned()),
        (config.listen, "/deployments/tally".to_owned()),
    ];
    let mut sum = 1;
    for (address, path) in &routes {
        hang_up(*address, path);
        let began = Instant::now();
        let token = produce(&topic, &key, 1);
        sum += 1;
        let answer = Connection::open(gateway).get(&fresh(&token), &[]);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.json()["sum"], sum, "{path}: {answer:?}");
        let took = began.elapsed();
        assert!(took < SOON, "{path}: {took:?}");
    }
    assert_eq!(host.readiness().expect("an answer")["ready"], true);
    drop(host);
    database.drop().await.expect("it is the test's own");
}

/// The status of an answer; 0 where the connection ends without one.
async fn status(gateway: SocketAddr, path: &str) -> u16 {
    let Ok(mut stream) = tokio::net::TcpStream::connect(gateway).await else {
        return 0;
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: {gateway}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    if stream.write_all(request.as_bytes()).await.is_err()
        || stream.read_to_string(&mut answer).await.is_err()
    {
        return 0;
    }
    let status = answer.split(' ').nth(1);
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// A hundred reads a second for so long; the statuses of those that had failed.
async fn read_on(gateway: SocketAddr, path: &'static str, time: Duration) -> Vec<u16> {
    let mut reads = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let end = Instant::now() + time;
    while Instant::now() < end {
        ticks.tick().await;
        reads.spawn(status(gateway, path));
    }
    let statuses = reads.join_all().await.into_iter();
    statuses.filter(|status| *status != 200).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_silent_is_read_again_at_once() {
    let mongod = Mongod::replica_set().await;
    let wire = Wire::to(mongod.host()).await;
    let topic = Topic::create("silence", 1).await.expect("a topic");
    let gateway = free_address().expect("a port");
    let config = config_at(&wire.uri(), &topic, "views", gateway, "");
    let host = Host::start(&config).expect("a host");
    host.wait_until_ready().await;
    let token = produce(&topic, &["k1".to_owned()], 1);
    let path = format!("/views/tally/k1?after={token}&wait=20s");
    assert_eq!(status(gateway, &path).await, 200);
    const PLAIN: &str = "/views/tally/k1";

    for mode in [Mode::Held, Mode::Lost] {
        wire.set(mode);
        let reads = tokio::spawn(read_on(gateway, PLAIN, Duration::from_secs(3)));
        // It says so, once readers are told so.
        wait::until("readiness to tell of the reads", async || {
            let readiness = host.readiness()?;
            let text = readiness["reasons"].to_string();
            anyhow::ensure!(text.contains("(for readers)"), "{readiness}");
            Ok(())
        })
        .await;
        let failed = reads.await.expect("it does not panic");
        assert!(failed.iter().all(|status| *status == 503), "{failed:?}");
        assert!(!failed.is_empty(), "{mode:?}: nobody noticed");

        wire.set(Mode::Pass);
        let began = Instant::now();
        wait::until("the store to be read again", async || {
            match status(gateway, PLAIN).await {
                200 => Ok(()),
                other => Err(other),
            }
        })
        .await;
        let took = began.elapsed();
        let soon = match mode {
            Mode::Lost => LOST + SOON,
            _ => SOON,
        };
        assert!(took < soon, "{mode:?}: {took:?}");
        let failed = read_on(gateway, PLAIN, Duration::from_secs(1)).await;
        assert!(failed.len() < 5, "{mode:?}: {failed:?}");
        host.wait_until_ready().await;
    }

    // What is silent does not keep the host from ending, either.
    wire.set(Mode::Held);
    let reads = tokio::spawn(read_on(gateway, PLAIN, Duration::from_secs(2)));
    reads.await.expect("it does not panic");
    let began = Instant::now();
    let ended = host.terminate().await.expect("it ends");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{ended}: {took:?}");
}
