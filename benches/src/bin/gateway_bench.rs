//! The gateway against a minimal service written by hand, on the same MongoDB in one run.
//!
//! Both serve one document by its id, each as a process of its own; 64 connections ask, over and
//! over, for documents at random. The minimal service is axum and the MongoDB driver with nothing
//! around them: it finds a raw document and writes it as JSON. It checks nobody, tells no position
//! and no version, and knows no time-outs. The rounds alternate, so that both see the same machine.
//!
//! ```console
//! $ make bench-gateway ARGS='--seconds 5 --rounds 4'
//! ```
//!
//! Every answer is looked at: one that is not the document that was asked for ends the run.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[path = "gateway_bench/data.rs"]
mod data;
#[path = "gateway_bench/servers.rs"]
mod servers;

const CONNECTIONS: usize = 64;
const DOCUMENTS: usize = 20_000;

/// One of the two servers, as a process.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Where its documents are.
    path: &'static str,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a server has done in all its rounds.
#[derive(Default)]
struct Score {
    latencies: Vec<Duration>,
    time: Duration,
}

impl Score {
    fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.time.as_secs_f64()
    }

    /// In milliseconds.
    fn percentile(&mut self, percent: usize) -> f64 {
        self.latencies.sort_unstable();
        let index = self.latencies.len() * percent / 100;
        let found = self
            .latencies
            .get(index.min(self.latencies.len().saturating_sub(1)));
        found.map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if let Some(server) = option("--serve") {
        let database = option("--database").context("--database is missing")?;
        return runtime.block_on(servers::serve(server, database));
    }
    let number = |name: &str, default: u64| match option(name) {
        Some(text) => text.parse().with_context(|| format!("{name} {text}")),
        None => Ok(default),
    };
    let seconds = Duration::from_secs(number("--seconds", 5)?);
    let rounds = number("--rounds", 4)?;
    runtime.block_on(compare(seconds, rounds))
}

async fn compare(seconds: Duration, rounds: u64) -> anyhow::Result<()> {
    let database = format!("gateway_bench_{}", std::process::id());
    data::fill(&database, DOCUMENTS).await?;
    let run = measure(&database, seconds, rounds).await;
    data::drop(&database).await?;
    let [mut minimal, mut gateway] = run?;
    println!("server    requests/s   p50 ms   p99 ms");
    for (name, score) in [("minimal", &mut minimal), ("gateway", &mut gateway)] {
        let (p50, p99) = (score.percentile(50), score.percentile(99));
        println!(
            "{name:<9} {:>10.0} {p50:>8.2} {p99:>8.2}",
            score.per_second()
        );
    }
    let requests = gateway.per_second() / minimal.per_second();
    let p99 = gateway.percentile(99) / minimal.percentile(99);
    println!(
        "gateway / minimal: requests/s {requests:.2} (target at least 0.90), p99 {p99:.2} (target at most 1.20)"
    );
    Ok(())
}

async fn measure(database: &str, seconds: Duration, rounds: u64) -> anyhow::Result<[Score; 2]> {
    let servers = [start("minimal", database)?, start("gateway", database)?];
    let mut scores = [Score::default(), Score::default()];
    for server in &servers {
        // Connections, caches and the branch predictor are warm from then on.
        load(server, Duration::from_secs(1)).await?;
    }
    for round in 0..rounds {
        // Whoever comes first in a round comes second in the next one.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for index in order {
            let began = Instant::now();
            let latencies = load(&servers[index], seconds).await?;
            scores[index].time += began.elapsed();
            scores[index].latencies.extend(latencies);
        }
    }
    Ok(scores)
}

fn start(name: &str, database: &str) -> anyhow::Result<Server> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--serve", name, "--database", database])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let out = child.stdout.take().context("it is piped")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
    let address = line.trim().parse();
    Ok(Server {
        child,
        address: address.with_context(|| format!("{name} told no address, but {line:?}"))?,
        path: servers::path(name),
    })
}

/// Asks over all connections, and answers how long each request took.
async fn load(server: &Server, time: Duration) -> anyhow::Result<Vec<Duration>> {
    let end = Instant::now() + time;
    let mut readers = JoinSet::new();
    for seed in 0..CONNECTIONS {
        readers.spawn(read(server.address, server.path, seed, end));
    }
    let mut latencies = Vec::new();
    while let Some(read) = readers.join_next().await {
        latencies.extend(read??);
    }
    Ok(latencies)
}

async fn read(
    address: SocketAddr,
    path: &'static str,
    seed: usize,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut latencies = Vec::new();
    let mut random = seed as u64 + 1;
    while Instant::now() < end {
        // Numbers of a multiplicative generator (L'Ecuyer 1999, table 4): any order will do.
        random = random
            .wrapping_mul(3_935_559_000_370_003_845)
            .wrapping_add(1);
        let id = data::id((random >> 33) as usize % DOCUMENTS);
        let request = format!("GET {path}/{id} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        let began = Instant::now();
        stream.get_mut().write_all(request.as_bytes()).await?;
        let body = answer(&mut stream).await?;
        latencies.push(began.elapsed());
        anyhow::ensure!(body.contains(&format!("\"{id}\"")), "{id}: {body}");
    }
    Ok(latencies)
}

async fn answer(stream: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let mut length = 0;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    anyhow::ensure!(line.starts_with("HTTP/1.1 200"), "{line}");
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(String::from_utf8(body)?)
}
