//! Stores with copies, as whole hosts keep them current and read them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use projectionist_tests::host::{Config, Host, Request, command, free_address};
use projectionist_tests::kafka::{Record, Topic, brokers};
use projectionist_tests::mongo::{Database, uri};
use projectionist_tests::mongod::Mongod;
use projectionist_tests::tally::{Number, number, produce, tally};
use projectionist_tests::{guests, unique, wait};
use serde_json::{Value, json};

/// A host that keeps `tally` in the store `main` and its copy `east`, which is on a server of its
/// own.
struct Scene {
    topic: Topic,
    letters: Topic,
    main: Database,
    server: Mongod,
    east: Database,
    gateway: SocketAddr,
    config: Config,
}

impl Scene {
    async fn new() -> Self {
        Scene::with("").await
    }

    /// The same, with more about the store.
    async fn with(more: &str) -> Self {
        let topic = Topic::create("copies", 2).await.expect("a topic");
        let letters = Topic::create("copies-letters", 1).await.expect("a topic");
        let main = Database::new("copies").await.expect("a database");
        let server = Mongod::replica_set().await;
        let east = Database::at(&server.uri(), &unique("east")).await;
        let east = east.expect("a database");
        let gateway = free_address().expect("a port");
        let text = format!(
            r#"
[kafka]
brokers = "{}"
[stores.main]
kind = "mongodb"
uri = "{}"
database = "{}"
[stores.main.copies.east]
uri = "{}"
database = "{}"
{more}
[projections.tally]
plugin = "{}"
topics = ["{topic}"]
group-id = "{topic}"
batch = {{ events = 50 }}
parking = {{ dead-letter-topic = "{letters}" }}
[gateway]
listen = "{gateway}"
"#,
            brokers(),
            uri(),
            main.name,
            server.uri(),
            east.name,
            guests::path("tally").display(),
            topic = topic.name,
            letters = letters.name,
        );
        let config = Config::new("host", &text).expect("a configuration");
        Scene {
            topic,
            letters,
            main,
            server,
            east,
            gateway,
            config,
        }
    }

    /// A host that has made documents of these in each copy.
    async fn start_with(&self, numbers: &[Number]) -> Host {
        produce(&self.topic, numbers);
        let host = Host::start(&self.config).expect("a host");
        for database in [&self.main, &self.east] {
            self.until_right("each copy", database, numbers, &host)
                .await;
        }
        host
    }

    async fn until_right(&self, what: &str, database: &Database, numbers: &[Number], host: &Host) {
        let expected = tally(numbers);
        wait::until(&format!("{what} to be right"), async || {
            let found = database.documents("tally").await;
            let found = found.map_err(|error| error.to_string())?;
            match found == expected {
                true => Ok(()),
                false => Err(format!("{} documents; {}", found.len(), host.log())),
            }
        })
        .await;
    }

    /// Waits until the host is ready, and tells this or nothing of what it could do better.
    async fn until_degraded(&self, host: &Host, words: Option<&str>) {
        wait::until(&format!("the host to tell {words:?}"), async || {
            let readiness = host.readiness().map_err(|error| error.to_string())?;
            let degraded = readiness["degraded"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let told = match words {
                None => degraded.is_empty(),
                Some(words) => degraded
                    .iter()
                    .any(|reason| reason.to_string().contains(words)),
            };
            match told && readiness["ready"] == true {
                true => Ok(()),
                false => Err(format!("{readiness}; {}", host.log())),
            }
        })
        .await;
    }
}

fn numbers(count: usize) -> Vec<Number> {
    let numbers = (0..).zip(0..count);
    numbers
        .map(|(n, index)| number(&format!("key-{}", index % 100), n))
        .collect()
}

fn ask(gateway: SocketAddr, path: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {gateway}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.to_owned(), body.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_away_holds_nobody_back_and_catches_up() {
    let mut scene = Scene::new().await;
    let numbers = numbers(3_000);
    let (first, rest) = numbers.split_at(1_000);
    let (second, third) = rest.split_at(1_000);

    // Away at the start, and so known from the configuration alone.
    scene.server.kill();
    produce(&scene.topic, first);
    let host = Host::start(&scene.config).expect("a host");
    scene
        .until_right("the first copy", &scene.main, first, &host)
        .await;
    scene
        .until_degraded(&host, Some("store \\\"east\\\" does not answer"))
        .await;
    scene.server.start_again();
    scene
        .until_right("the other copy", &scene.east, first, &host)
        .await;
    scene.until_degraded(&host, None).await;

    // Away in the middle.
    scene.server.kill();
    produce(&scene.topic, second);
    let so_far = [first, second].concat();
    scene
        .until_right("the first copy", &scene.main, &so_far, &host)
        .await;
    scene
        .until_degraded(&host, Some("store \\\"east\\\" does not answer"))
        .await;
    // A host that starts anew goes on where each copy stands.
    host.kill().expect("it can be killed");
    let host = Host::start(&scene.config).expect("a host");
    produce(&scene.topic, third);
    scene
        .until_right("the first copy", &scene.main, &numbers, &host)
        .await;
    scene.server.start_again();
    scene
        .until_right("the other copy", &scene.east, &numbers, &host)
        .await;
    scene.until_degraded(&host, None).await;

    // What tools see of it.
    let own = scene.topic.committed(&scene.topic.name);
    let own = own.expect("the group has offsets");
    wait::until("the copy's group to have the same offsets", async || {
        let copy = scene.topic.committed(&format!("{}.east", scene.topic.name));
        let copy = copy.map_err(|error| error.to_string())?;
        if copy == own {
            Ok(())
        } else {
            Err(format!("{copy:?}, not {own:?}"))
        }
    })
    .await;
    let shown = command(&["get", "tally", "key-7", "--copy", "east"], &scene.config);
    let shown = shown.expect("the command runs");
    let document: Value = serde_json::from_str(&shown.stdout).expect("a document");
    assert_eq!(document["count"], 30);
    let checked = command(&["check", "--connect"], &scene.config).expect("it runs");
    for store in ["store \"main\"", "store \"east\""] {
        assert!(checked.stdout.contains(store), "{checked:?}");
    }
    assert!(host.terminate().await.expect("it ends").success());
    scene.main.drop().await.expect("the database goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_is_parked_in_each_copy_and_told_of_once() {
    let scene = Scene::new().await;
    let poison = Record {
        key: Some("bad"),
        value: Some(b"no number"),
        id: "poison",
    };
    scene
        .topic
        .produce(std::iter::once(poison))
        .expect("it is produced");
    let good = [number("good", 1)];
    produce(&scene.topic, &good);
    let host = Host::start(&scene.config).expect("a host");
    scene
        .until_right("the first copy", &scene.main, &good, &host)
        .await;
    scene
        .until_right("the other copy", &scene.east, &good, &host)
        .await;
    let parked = wait::until("both to have parked it", async || {
        let listed = command(&["parked", "list"], &scene.config);
        let listed = listed.map_err(|error| error.to_string())?.stdout;
        match listed.lines().count() {
            2 => Ok(listed),
            _ => Err(listed),
        }
    })
    .await;
    let ids: Vec<&str> = parked
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert!(
        ids[0].starts_with("tally/") && ids[1].starts_with("tally@east/"),
        "{parked}"
    );
    wait::until("the dead letter", async || {
        let ends = scene.letters.ends().map_err(|error| error.to_string())?;
        if ends == [1] {
            Ok(())
        } else {
            Err(format!("{ends:?}"))
        }
    })
    .await;

    // Each copy's key is somebody's to decide about.
    let offset = |id: &str| id.rsplit('/').next().expect("it ends with it").to_owned();
    for id in &ids {
        let skipped = command(
            &[
                "parked",
                "skip",
                id,
                "--offset",
                &offset(id),
                "--reason",
                "a test",
            ],
            &scene.config,
        );
        let skipped = skipped.expect("the command runs");
        assert_eq!(skipped.code, Some(0), "{skipped:?}");
    }
    let left = command(&["parked", "list"], &scene.config).expect("it runs");
    assert_eq!(left.stdout, "");
    // Skipping sends nothing, and neither did the other copy by now.
    assert_eq!(scene.letters.ends().expect("it has ends"), [1]);
    assert!(host.terminate().await.expect("it ends").success());
    scene.main.drop().await.expect("the database goes");
}

/// How many reads a copy has answered.
fn answered(host: &Host, copy: &str) -> u64 {
    let (_, metrics) = host.get("/metrics").expect("metrics");
    let line = format!(
        "projectionist_target_reads_total{{balanced=\"store main\",target=\"{copy}\",\
         outcome=\"answered\"}} "
    );
    let found = metrics.lines().find_map(|found| found.strip_prefix(&line));
    found.map_or(0, |count| count.parse().expect("a number"))
}

/// Reads a document so often, and tells how many of the reads each copy has answered.
fn spread(scene: &Scene, host: &Host, reads: usize) -> [u64; 2] {
    let answered = || ["main", "east"].map(|copy| answered(host, copy));
    let before = answered();
    for _ in 0..reads {
        let (head, body) = ask(scene.gateway, "/views/tally/key-7").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
    }
    let after = answered();
    [after[0] - before[0], after[1] - before[1]]
}

fn change(host: &Host, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
    let request = Request {
        method,
        path,
        body,
        ..Request::default()
    };
    let answer = host.request(&request).expect("an answer");
    let body = serde_json::from_str(&answer.body);
    (answer.status, body.expect("JSON"))
}

fn upload(host: &Host, name: &str) -> String {
    let (status, made) = change(host, "PUT", "/plugins", &guests::guest(name));
    assert!(matches!(status, 200 | 201), "{made}");
    let hash = made["sha256"].as_str();
    hash.unwrap_or_else(|| panic!("{made}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routing_policy_is_swapped_and_rolled_back_while_reads_go_on() {
    let policy = guests::path("round_robin");
    let scene = Scene::with(&format!(
        "[stores.main.routing]\npolicy = \"{}\"\n",
        policy.display()
    ))
    .await;
    let numbers = numbers(200);
    let host = scene.start_with(&numbers).await;
    let until_spread = async |host: &Host, expected: [u64; 2]| {
        wait::until("reads to be spread", async || {
            let found = spread(&scene, host, 10);
            if found == expected {
                Ok(())
            } else {
                Err((found, host.log()))
            }
        })
        .await;
    };
    until_spread(&host, [5, 5]).await;

    let activate = "/projections/main.routing/activate";
    let choice = |hash: &str| json!({ "plugin": hash }).to_string();
    let first = choice(&upload(&host, "routing_first"));
    let (status, made) = change(&host, "POST", activate, first.as_bytes());
    assert_eq!(
        (status, &made["change"]),
        (200, &"activated".into()),
        "{made}"
    );
    until_spread(&host, [10, 0]).await;

    // What is no routing policy is refused, and one policy is enough at a time.
    let tally = choice(&upload(&host, "tally"));
    let (status, told) = change(&host, "POST", activate, tally.as_bytes());
    assert_eq!(status, 422, "{told}");
    assert!(told["detail"].to_string().contains("routing"), "{told}");
    let shadow = "/projections/main.routing/shadow";
    let (status, told) = change(&host, "POST", shadow, first.as_bytes());
    assert_eq!(status, 409, "{told}");
    assert!(
        told["detail"].to_string().contains("balance simulate"),
        "{told}"
    );

    // The decision outlives the host.
    assert!(host.terminate().await.expect("it ends").success());
    let host = Host::start(&scene.config).expect("a host");
    host.wait_until_ready().await;
    until_spread(&host, [10, 0]).await;
    let (status, made) = change(&host, "POST", "/projections/main.routing/rollback", b"");
    assert_eq!(
        (status, &made["change"]),
        (200, &"rolled-back".into()),
        "{made}"
    );
    until_spread(&host, [5, 5]).await;
    assert!(host.terminate().await.expect("it ends").success());
    scene.main.drop().await.expect("the database goes");
}

/// When reads began, how long they took.
type Reads = Mutex<Vec<(Instant, Duration)>>;

/// Reads until it is told to stop; counts what is no right answer.
fn read_on(gateway: SocketAddr, reads: &Reads, stop: &AtomicBool, failed: &AtomicUsize) {
    let mut index = 0;
    while !stop.load(Ordering::Relaxed) {
        index += 1;
        let began = Instant::now();
        match ask(gateway, &format!("/views/tally/key-{}", index % 100)) {
            Ok((head, _)) if head.starts_with("HTTP/1.1 200") => {}
            other => {
                eprintln!("{other:?}");
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        let mut reads = reads.lock().expect("nobody panics with the lock");
        reads.push((began, began.elapsed()));
    }
}

fn p99(reads: &Reads, from: Instant, to: Instant) -> Duration {
    let reads = reads.lock().expect("nobody panics with the lock");
    let within = reads
        .iter()
        .filter(|(began, _)| *began >= from && *began < to);
    let mut taken: Vec<Duration> = within.map(|(_, taken)| *taken).collect();
    assert!(taken.len() > 100, "{} reads", taken.len());
    taken.sort();
    taken[taken.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_under_load_fails_no_read() {
    let mut scene = Scene::new().await;
    let numbers = numbers(200);
    let host = scene.start_with(&numbers).await;
    let reads = Arc::new(Reads::default());
    let (stop, failed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let gateway = scene.gateway;
            let (reads, stop, failed) =
                (Arc::clone(&reads), Arc::clone(&stop), Arc::clone(&failed));
            std::thread::spawn(move || read_on(gateway, &reads, &stop, &failed))
        })
        .collect();
    let until_reads = async |since: Instant, seconds: u64| {
        wait::until("reads to go on", async || {
            let reads = reads.lock().expect("nobody panics with the lock");
            let newest = reads.last().map(|(began, _)| *began);
            let enough = newest.is_some_and(|newest| newest - since > Duration::from_secs(seconds));
            if enough { Ok(()) } else { Err(reads.len()) }
        })
        .await;
    };
    let began = Instant::now();
    until_reads(began, 3).await;
    let each = ["main", "east"].map(|copy| answered(&host, copy));
    assert!(each.iter().all(|answered| *answered > 0), "{each:?}");

    let killed = Instant::now();
    scene.server.kill();
    until_reads(killed, 5).await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("a reader does not panic");
    }
    assert_eq!(failed.load(Ordering::Relaxed), 0, "{}", host.log());
    let second = Duration::from_secs(1);
    let before = p99(&reads, began + second, killed);
    let after = p99(&reads, killed + 2 * second, killed + 5 * second);
    println!(
        "p99 of reads: {before:?} with both copies, {after:?} from two seconds after the end of one"
    );
    // A read that waited for the copy would have taken half a second.
    assert!(
        after < before * 2 + Duration::from_millis(100),
        "{before:?}, {after:?}"
    );
    assert!(host.terminate().await.expect("it ends").success());
    scene.main.drop().await.expect("the database goes");
}
