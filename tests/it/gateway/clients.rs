//! Clients of both ports who hang up, say nothing, ask slowly or never read: all else goes on.
//!
//! The routes are those that the two OpenAPI documents of a running host list, so a new one is
//! among them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use projectionist_tests::host::{Config, Host};
use projectionist_tests::kafka::Topic;
use projectionist_tests::mongo::Database;
use projectionist_tests::wait;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::client::{Answer, Connection};
use crate::hosts::{config, produce};

/// At a time, on each route.
const CROWD: usize = 1_000;

/// How long the next event, health, or another client's read may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it may take until a crowd has come, on a machine that is busy with it.
const CROWDED: Duration = Duration::from_secs(10);

const TOKENS: &str = r#"
[gateway.roles.all]
views = ["*"]
[gateway.tokens.reader]
token = "0123456789-reader"
role = "all"
[host.tokens.duty]
token = "0123456789-on-duty"
role = "operate"
"#;

const READER: &str = "Bearer 0123456789-reader";
const DUTY: &str = "Bearer 0123456789-on-duty";

/// Addresses of the crowd, and of another client.
const CROWD_FROM: [u8; 4] = [127, 0, 0, 2];
const OTHER_FROM: [u8; 4] = [127, 0, 0, 3];

/// Until when a client goes on.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Connected,
    HalfLine,
    HalfHead,
    /// Where the request has a body.
    HalfBody,
    /// Everything is sent, and nothing read.
    Asked,
    /// The answer has begun.
    Answered,
}

const STAGES: [Stage; 6] = [
    Stage::Connected,
    Stage::HalfLine,
    Stage::HalfHead,
    Stage::HalfBody,
    Stage::Asked,
    Stage::Answered,
];

struct Route {
    port: SocketAddr,
    token: &'static str,
    method: String,
    path: String,
    has_body: bool,
}

/// A host that folds and serves the view `tally`.
struct Site {
    host: Host,
    admin: SocketAddr,
    gateway: SocketAddr,
    topic: Topic,
    database: Database,
    _config: Config,
    produced: i64,
}

impl Site {
    async fn start() -> Self {
        // Both ends of the connections of a crowd: its own are files of this process.
        rlimit::increase_nofile_limit(8 * CROWD as u64).expect("a limit");
        let topic = Topic::create("clients", 1).await.expect("a topic");
        let database = Database::new("clients").await.expect("a database");
        let gateway = projectionist_tests::host::free_address().expect("a port");
        let config = config(&topic, &database.name, gateway, TOKENS);
        let host = Host::start(&config).expect("a host");
        host.wait_until_ready().await;
        Site {
            host,
            admin: config.listen,
            gateway,
            topic,
            database,
            _config: config,
            produced: 0,
        }
    }

    fn routes(&self) -> Vec<Route> {
        let ports = [(self.admin, DUTY), (self.gateway, READER)];
        let mut routes = Vec::new();
        for (port, token) in ports {
            let mut connection = Connection::open(port);
            let document = connection.get("/openapi.json", &[("authorization", token)]);
            let document = document.json();
            for (path, item) in document["paths"].as_object().expect("an object") {
                for (method, operation) in item.as_object().expect("an object") {
                    routes.push(Route {
                        port,
                        token,
                        method: method.to_uppercase(),
                        path: example(path),
                        has_body: operation["requestBody"] != Value::Null,
                    });
                }
            }
        }
        routes
    }

    /// Produces an event, and answers how long it takes until another client reads its effect.
    async fn event(&mut self) -> Duration {
        self.produced += 1;
        let token = produce(&self.topic, &["probe".to_owned()], 1);
        let began = Instant::now();
        let path = format!("/views/tally/probe?after={token}&wait=30s");
        let answer = ask(self.gateway, &path, READER).await;
        let took = began.elapsed();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["sum"], self.produced, "{answer:?}");
        took
    }

    /// How long health takes to answer.
    async fn health(&self) -> Duration {
        let began = Instant::now();
        let live = ask(self.admin, "/health/live", DUTY).await;
        assert_eq!(
            (live.status, live.body.as_str()),
            (200, "live\n"),
            "{live:?}"
        );
        let ready = ask(self.admin, "/health/ready", DUTY).await;
        assert_eq!(ready.status, 200, "{ready:?}");
        began.elapsed()
    }

    async fn end(self) {
        drop(self.host);
        self.database.drop().await.expect("it is the test's own");
    }
}

/// A path of a route.
fn example(path: &str) -> String {
    let examples = [
        ("{name}", "tally"),
        ("{hash}", "0123"),
        ("{projection}", "tally"),
        ("{topic}", "t"),
        ("{partition}", "0"),
        ("{offset}", "1"),
        ("{id}", "probe"),
    ];
    let path = examples
        .iter()
        .fold(path.to_owned(), |path, (part, example)| {
            path.replace(part, example)
        });
    assert!(
        !path.contains('{'),
        "{path} has a part that this test does not know"
    );
    path
}

/// What another client is answered.
async fn ask(address: SocketAddr, path: &str, token: &str) -> Answer {
    let mut connection = Connection::open_from(OTHER_FROM, address).await;
    let (path, token) = (path.to_owned(), token.to_owned());
    let asked =
        tokio::task::spawn_blocking(move || connection.get(&path, &[("authorization", &token)]));
    asked.await.expect("an answer")
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((CROWD_FROM, 0).into())?;
    // Whoever hangs up so leaves nothing behind; else each connection would hold its port.
    socket.set_zero_linger()?;
    socket.connect(address).await
}

impl Route {
    /// Goes as far as a stage, and answers the connection as it is then.
    async fn reach(&self, stage: Stage) -> std::io::Result<TcpStream> {
        let mut stream = connect(self.port).await?;
        let line = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let body = if self.has_body {
            r#"{"plugin":"0123","offset":1,"reason":""}"#
        } else {
            ""
        };
        let head = format!(
            "host: {}\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n",
            self.port,
            self.token,
            body.len()
        );
        let whole = format!("{line}{head}{body}");
        let sent = match stage {
            Stage::Connected => 0,
            Stage::HalfLine => line.len() / 2,
            Stage::HalfHead => line.len() + head.len() / 2,
            Stage::HalfBody => line.len() + head.len() + body.len() / 2,
            Stage::Asked | Stage::Answered => whole.len(),
        };
        stream.write_all(&whole.as_bytes()[..sent]).await?;
        if matches!(stage, Stage::Answered) {
            stream.read_exact(&mut [0; 12]).await?;
        }
        Ok(stream)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_at_every_stage_of_every_route_hold_up_nothing() {
    let mut site = Site::start().await;
    for _ in 0..3 {
        site.event().await;
    }
    let routes = site.routes();
    assert!(routes.len() > 20, "{}", routes.len());
    let mut slow = Vec::new();
    for route in routes {
        let name = format!("{} {}", route.method, route.path);
        let route = std::sync::Arc::new(route);
        let mut crowd = JoinSet::new();
        for number in 0..CROWD {
            let route = std::sync::Arc::clone(&route);
            crowd.spawn(async move {
                let stage = STAGES[number % STAGES.len()];
                let patience = match stage {
                    Stage::Answered => PATIENCE / 2,
                    // The system takes what these send, however busy the host is.
                    _ => CROWDED,
                };
                let reached = tokio::time::timeout(patience, route.reach(stage)).await;
                // One that is turned away, or waits for long, hangs up as well.
                reached.ok().and_then(Result::ok)
            });
        }
        let mut present = Vec::with_capacity(CROWD);
        while let Some(reached) = crowd.join_next().await {
            present.extend(reached.expect("no panic"));
        }
        assert!(
            present.len() > CROWD / 3,
            "{name}: only {} came",
            present.len()
        );
        // All at once.
        drop(present);
        let (event, health) = (site.event().await, site.health().await);
        if event > PATIENCE || health > PATIENCE {
            slow.push(format!(
                "{name}: the next event {event:?}, health {health:?}"
            ));
        }
    }
    assert!(slow.is_empty(), "{}\n{}", slow.join("\n"), site.host.log());
    // Nothing of them is left.
    wait::until("no request under way", async || {
        let (_, metrics) = site
            .host
            .get("/metrics")
            .map_err(|error| error.to_string())?;
        let left: Vec<&str> = metrics
            .lines()
            .filter(|line| {
                line.starts_with("projectionist_gateway_requests_in_flight ")
                    || line.starts_with("projectionist_gateway_streams ")
            })
            .filter(|line| !line.ends_with(" 0"))
            .collect();
        match left.is_empty() {
            true => Ok(()),
            false => Err(left.join(", ")),
        }
    })
    .await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_clients_leave_health_and_others_their_answers() {
    /// More than an address may have.
    const SILENT: usize = 1_400;
    let mut site = Site::start().await;
    site.event().await;
    let mut held = Vec::new();
    for number in 0..SILENT {
        let mut stream = connect(site.admin).await.expect("a connection");
        // A third each: nothing, half a head, and half a body of a whole head.
        let part: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /plugins HTTP/1.1\r\nhost: ",
            _ => b"GET /plugins HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{",
        };
        // One that is turned away may have been closed already.
        drop(stream.write_all(part).await);
        held.push(stream);
    }
    for _ in 0..300 {
        let mut stream = connect(site.gateway).await.expect("a connection");
        // Many answers are asked for, and none is read.
        let asked = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20);
        drop(stream.try_write(asked.as_bytes()));
        drop(stream.flush().await);
        held.push(stream);
    }
    // A byte now and then.
    let mut drip = connect(site.gateway).await.expect("a connection");
    for byte in b"GET /views/tally/probe HTTP/1.1\r\n" {
        drip.write_all(&[*byte]).await.expect("it is taken");
        let health = site.health().await;
        assert!(health < PATIENCE, "{health:?}");
    }
    // Also to the very address that holds them.
    for page in ["/health/live", "/health/ready", "/metrics"] {
        let mut own = Connection::open_from(CROWD_FROM, site.admin).await;
        let answer = own.get(page, &[]);
        assert_eq!(answer.status, 200, "{page}: {answer:?}");
    }
    let mut own = Connection::open_from(CROWD_FROM, site.admin).await;
    let refused = own.get("/plugins", &[("authorization", DUTY)]);
    refused.assert_problem(503, "as many connections as it may have");
    let plugins = ask(site.admin, "/plugins", DUTY).await;
    assert_eq!(plugins.status, 200, "{plugins:?}");
    let event = site.event().await;
    assert!(event < PATIENCE, "{event:?}");
    drop(held);
    site.end().await;
}
