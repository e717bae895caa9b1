//! A real nginx in front of servers that say who they are: whom it picks, request by request.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// One worker, so that its picks follow one another. Ends with its handle.
pub struct Nginx {
    process: Child,
    socket: PathBuf,
    servers: Servers,
    _folder: TempDir,
}

/// A server behind nginx. Nginx takes its address for its name.
#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    pub weight: u32,
    /// Named in the configuration, and never asked.
    pub is_down: bool,
}

/// A request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    pub key: &'a str,
    /// The client's address, as nginx is to see it; the test's own where it is empty.
    pub client: &'a str,
}

/// A request that a server has not answered yet.
pub struct Held {
    /// Place of the server that has it.
    pub server: usize,
    id: u64,
    asking: JoinHandle<anyhow::Result<usize>>,
}

/// Listens until the process ends.
struct Servers {
    addresses: Vec<SocketAddr>,
    held: Arc<Book>,
    next_id: u64,
}

/// Who holds which request, and which may go on.
#[derive(Default)]
struct Book {
    holders: Mutex<HashMap<u64, Holder>>,
    changed: Condvar,
}

#[derive(Clone, Copy)]
struct Holder {
    server: usize,
    is_released: bool,
}

impl Nginx {
    /// Starts servers and an nginx that balances over them by this directive of its `upstream`,
    /// and waits until it answers.
    pub fn start(directive: &str, upstreams: &[Upstream]) -> anyhow::Result<Self> {
        let servers = Servers::start(upstreams.len())?;
        let folder = tempfile::tempdir().context("a temporary folder")?;
        let socket = folder.path().join("nginx.sock");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut lines = String::new();
        for (address, upstream) in servers.addresses.iter().zip(upstreams) {
            let down = if upstream.is_down { " down" } else { "" };
            writeln!(lines, "server {address} weight={}{down};", upstream.weight)?;
        }
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};\n", path(kind)))
            .concat();
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid {pid};\n\
             events {{ worker_connections 512; }}\n\
             http {{\n access_log off; {temporary}\
             set_real_ip_from unix:; real_ip_header X-Client;\n\
             upstream picks {{ {directive}\n{lines} }}\n\
             server {{ listen unix:{socket}; location / {{ proxy_pass http://picks; }} }}\n}}\n",
            pid = path("pid"),
            socket = socket.display(),
        );
        let file = path("nginx.conf");
        std::fs::write(&file, config).context("the configuration")?;
        let log = path("error.log");
        let process = Command::new(crate::endpoint("PROJECTIONIST_TEST_NGINX"))
            .args([
                "-p",
                &folder.path().display().to_string(),
                "-c",
                &file,
                "-e",
                &log,
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nginx")?;
        let mut nginx = Nginx {
            process,
            socket,
            servers,
            _folder: folder,
        };
        nginx.wait(&log)?;
        Ok(nginx)
    }

    /// The address of each server.
    pub fn names(&self) -> Vec<String> {
        self.servers
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// The place of the server that has answered.
    pub fn ask(&self, ask: Ask<'_>) -> anyhow::Result<usize> {
        request(&self.socket, "/", ask)
    }

    /// Asks, and waits until a server has the request, which it holds until it is released.
    pub fn hold(&mut self, ask: Ask<'_>) -> anyhow::Result<Held> {
        let id = self.servers.next_id;
        self.servers.next_id += 1;
        let (socket, path) = (self.socket.clone(), format!("/hold/{id}"));
        let (key, client) = (ask.key.to_owned(), ask.client.to_owned());
        let asking = std::thread::spawn(move || {
            let ask = Ask {
                key: &key,
                client: &client,
            };
            request(&socket, &path, ask)
        });
        let server = self.servers.held.wait_for_holder(id)?;
        Ok(Held { server, id, asking })
    }

    /// Lets the server answer, and waits until the answer has come.
    pub fn release(&self, held: Held) -> anyhow::Result<()> {
        self.servers.held.release(held.id);
        let answered = held
            .asking
            .join()
            .map_err(|_| anyhow!("the asking thread panicked"))??;
        if answered != held.server {
            bail!(
                "server {} had the request, and {answered} answered",
                held.server
            );
        }
        Ok(())
    }

    fn wait(&mut self, log: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        while UnixStream::connect(&self.socket).is_err() {
            if let Some(status) = self.process.try_wait()? {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                bail!("nginx ended with {status}: {log}");
            }
            if start.elapsed() > PATIENCE {
                bail!("nginx does not listen");
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("nginx did not end: {error}");
        }
    }
}

impl Servers {
    fn start(count: usize) -> anyhow::Result<Self> {
        let held = Arc::new(Book::default());
        let mut addresses = Vec::new();
        for place in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            addresses.push(listener.local_addr()?);
            let held = held.clone();
            std::thread::spawn(move || {
                for connection in listener.incoming().flatten() {
                    let held = held.clone();
                    std::thread::spawn(move || {
                        if let Err(error) = answer(connection, place, &held) {
                            eprintln!("server {place}: {error:#}");
                        }
                    });
                }
            });
        }
        Ok(Servers {
            addresses,
            held,
            next_id: 0,
        })
    }
}

impl Book {
    fn hold(&self, id: u64, server: usize) -> anyhow::Result<()> {
        let holder = Holder {
            server,
            is_released: false,
        };
        let mut holders = self.holders.lock().expect("no thread panics with it");
        holders.insert(id, holder);
        self.changed.notify_all();
        let is_held = |holders: &mut HashMap<u64, Holder>| !holders[&id].is_released;
        let (holders, timeout) = self
            .changed
            .wait_timeout_while(holders, PATIENCE, is_held)
            .expect("no thread panics with it");
        drop(holders);
        match timeout.timed_out() {
            true => bail!("request {id} was never released"),
            false => Ok(()),
        }
    }

    fn wait_for_holder(&self, id: u64) -> anyhow::Result<usize> {
        let holders = self.holders.lock().expect("no thread panics with it");
        let is_missing = |holders: &mut HashMap<u64, Holder>| !holders.contains_key(&id);
        let (holders, _) = self
            .changed
            .wait_timeout_while(holders, PATIENCE, is_missing)
            .expect("no thread panics with it");
        let holder = holders.get(&id).context("no server has the request")?;
        Ok(holder.server)
    }

    fn release(&self, id: u64) {
        let mut holders = self.holders.lock().expect("no thread panics with it");
        if let Some(holder) = holders.get_mut(&id) {
            holder.is_released = true;
        }
        self.changed.notify_all();
    }
}

/// Answers one request with the server's place.
fn answer(connection: TcpStream, place: usize, held: &Book) -> anyhow::Result<()> {
    let mut reader = BufReader::new(&connection);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    if let Some(id) = path.strip_prefix("/hold/") {
        held.hold(id.parse()?, place)?;
    }
    let body = place.to_string();
    let answer = format!(
        "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    (&connection).write_all(answer.as_bytes())?;
    Ok(())
}

fn request(socket: &PathBuf, path: &str, ask: Ask<'_>) -> anyhow::Result<usize> {
    let mut connection = UnixStream::connect(socket)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let client = match ask.client {
        "" => String::new(),
        client => format!("X-Client: {client}\r\n"),
    };
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: picks\r\nX-Key: {}\r\n{client}\r\n",
        ask.key
    );
    connection.write_all(request.as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
    body.parse()
        .with_context(|| format!("nginx answered {answer:?}"))
}
