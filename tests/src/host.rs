//! The host as users run it: the binary, a configuration file, signals.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::{signal, wait};

/// A configuration file of one test.
pub struct Config {
    folder: tempfile::TempDir,
    pub listen: SocketAddr,
}

impl Config {
    /// Writes `text` below a `[host]` section of this test's own. Group memberships end quickly,
    /// so that a killed host is not missed for long.
    pub fn new(name: &str, text: &str) -> anyhow::Result<Self> {
        Config::with_startup_timeout(name, "5s", text)
    }

    /// The same, for a host that may be started while the services are away.
    pub fn with_startup_timeout(name: &str, timeout: &str, text: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let listen = free_address()?;
        let head = format!(
            "[host]\nname = \"{name}\"\nlisten = \"{listen}\"\nlog = \"info\"\n\
             startup-timeout = \"{timeout}\"\ndrain-timeout = \"3s\"\n"
        );
        std::fs::write(folder.path().join("projectionist.toml"), head + text)?;
        Ok(Config { folder, listen })
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("projectionist.toml")
    }

    /// Adds a file beside the configuration.
    pub fn add_file(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(std::fs::write(self.folder.path().join(name), bytes)?)
    }
}

/// A running host. Dropping it kills it.
pub struct Host {
    child: Child,
    listen: SocketAddr,
    log: Log,
    /// Collects the log until the host ends. `None` where it goes elsewhere.
    reader: Option<std::thread::JoinHandle<()>>,
}

/// What a host has logged; it outlives the host.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// All lines so far.
    pub fn text(&self) -> String {
        self.0.lock().expect("no writer panics").clone()
    }
}

/// A request to a host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// Sent as a bearer token.
    pub token: Option<&'a str>,
    pub body: &'a [u8],
}

/// What a host answers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// The status line and the headers, in lower-case letters.
    pub head: String,
    pub body: String,
}

/// How long a host may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take where it checks plugins, and others have come first.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Host {
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let mut child = spawn(config, Stdio::piped())?;
        let log = Log::default();
        let lines = BufReader::new(child.stderr.take().context("its log is piped")?);
        let collected = log.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = collected.0.lock().expect("no reader panics");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Ok(Host {
            child,
            listen: config.listen,
            log,
            reader: Some(reader),
        })
    }

    /// The same, with its log going elsewhere than to [`Host::log`].
    pub fn start_logging_to(config: &Config, stderr: impl Into<Stdio>) -> anyhow::Result<Self> {
        Ok(Host {
            child: spawn(config, stderr.into())?,
            listen: config.listen,
            log: Log::default(),
            reader: None,
        })
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Its log, for whoever wants to read it after its end.
    pub fn shared_log(&self) -> Log {
        self.log.clone()
    }

    /// How it ended, if it has ended by itself.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The answer of `/health/ready`.
    pub fn readiness(&self) -> anyhow::Result<Value> {
        let (_, body) = get(self.listen, "/health/ready")?;
        Ok(serde_json::from_str(&body)?)
    }

    /// The status and the body of a page.
    pub fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        get(self.listen, path)
    }

    /// The status and the body of the answer to a request with this body.
    pub fn post(&self, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
        ask(self.listen, "POST", path, body)
    }

    /// The answer to a request.
    pub fn request(&self, request: &Request<'_>) -> anyhow::Result<Answer> {
        request.send(self.listen, PATIENCE)
    }

    pub async fn wait_until_ready(&self) {
        wait::until("the host to be ready", async || {
            let readiness = self.readiness()?;
            anyhow::ensure!(readiness["ready"] == true, "{readiness}\n{}", self.log());
            Ok(())
        })
        .await;
    }

    /// Ends it at once, as a crash does.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub async fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        self.end().await
    }

    /// The same, where the handle is still needed.
    pub async fn end(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal("TERM")?;
        let child = &mut self.child;
        let status = wait::until("the host to end", async || {
            child.try_wait().ok().flatten().ok_or("running")
        });
        Ok(status.await)
    }

    /// The most memory that it has had so far.
    pub fn peak_memory_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mut lines = status.lines();
        let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.context("the kernel tells no peak")?.trim();
        let kibibytes: u64 = peak.trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// Sends a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal::send(&self.child, name)
    }

    /// Waits until it ends by itself.
    pub async fn finish(mut self) -> Finished {
        let child = &mut self.child;
        let status = wait::until("the host to end by itself", async || {
            child.try_wait().ok().flatten().ok_or("running")
        })
        .await;
        // Its last lines may be in the pipe still.
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it only collects lines");
        }
        Finished {
            code: status.code(),
            stdout: String::new(),
            stderr: self.log(),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(config: &Config, stderr: Stdio) -> anyhow::Result<Child> {
    program()
        .arg("run")
        .arg("--config")
        .arg(config.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .context("cannot start the host; build it with `make build`")
}

/// Runs a command of the binary to its end.
pub fn command(arguments: &[&str], config: &Config) -> anyhow::Result<Finished> {
    let output = program()
        .args(arguments)
        .arg("--config")
        .arg(config.path())
        .stdin(Stdio::null())
        .output()
        .context("cannot start the host; build it with `make build`")?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// The built binary as a command. It keeps compiled plugins in a directory of the tests' own.
pub fn program() -> Command {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-cache");
    let mut command = Command::new(binary());
    command
        .env("XDG_CACHE_HOME", cache)
        .env_remove("CACHE_DIRECTORY");
    command
}

/// The built binary, `target/release/projectionist`.
pub fn binary() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/projectionist")
}

/// An address on loopback that nobody listens on.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    ask(address, "GET", path, "")
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
    let request = Request {
        method,
        path,
        body: body.as_bytes(),
        ..Request::default()
    };
    let answer = request.send(address, ANSWER_TIMEOUT)?;
    Ok((answer.status, answer.body))
}

impl Request<'_> {
    /// Waits so long for each part of the answer.
    fn send(&self, address: SocketAddr, timeout: Duration) -> anyhow::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
        stream.set_read_timeout(Some(timeout))?;
        let token = self
            .token
            .map(|token| format!("authorization: Bearer {token}\r\n"));
        write!(
            stream,
            "{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{}\
             content-length: {}\r\n\r\n",
            self.method,
            self.path,
            token.unwrap_or_default(),
            self.body.len()
        )?;
        // Who is refused is told so before the whole body is read: the rest finds nobody, and
        // what has come before the connection was reset is the answer.
        drop(stream.write_all(self.body));
        let mut response = Vec::new();
        match stream.read_to_end(&mut response) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => return Err(error.into()),
            Err(_) | Ok(_) => {}
        }
        let response = String::from_utf8(response)?;
        let (head, body) = response.split_once("\r\n\r\n").context("no HTTP answer")?;
        Ok(Answer {
            status: head.split(' ').nth(1).context("no status")?.parse()?,
            head: head.to_lowercase(),
            body: body.to_owned(),
        })
    }
}
