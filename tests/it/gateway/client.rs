//! A reader: HTTP over a connection of its own, without anything that could hide what is sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long a gateway may take for a part of an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower-case letters.
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).expect("a connection");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out");
        stream.set_nodelay(true).expect("an option");
        Connection {
            stream: BufReader::new(stream),
            address,
        }
    }

    /// The same, from another address of this machine, which the host takes for another client.
    pub(crate) async fn open_from(from: [u8; 4], address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("a loopback address");
        let stream = socket.connect(address).await.expect("a connection");
        let stream = stream.into_std().expect("a socket");
        stream.set_nonblocking(false).expect("an option");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out");
        Connection {
            stream: BufReader::new(stream),
            address,
        }
    }

    /// Asks, and reads the answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.send(request.as_bytes());
        self.read(method == "HEAD")
    }

    pub(crate) fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers)
    }

    /// Sends bytes; a gateway that has heard enough may close the connection before the last.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.get_mut().write_all(bytes));
    }

    /// A line without its end; `None` where the connection has ended.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).expect("a line");
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The status and the headers of an answer.
    pub(crate) fn head(&mut self) -> Answer {
        let status = self.line().expect("an answer");
        let status = status.split(' ').nth(1).expect("a status");
        let mut headers = Vec::new();
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').expect("a header");
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        Answer {
            status: status.parse().expect("a number"),
            headers,
            body: String::new(),
        }
    }

    /// An answer; one to HEAD has no body.
    pub(crate) fn read(&mut self, to_head: bool) -> Answer {
        let mut answer = self.head();
        let length = answer.header("content-length").map(str::to_owned);
        if let Some(length) = length
            && !to_head
        {
            let mut body = vec![0; length.parse().expect("a number")];
            self.stream.read_exact(&mut body).expect("the whole body");
            answer.body = String::from_utf8(body).expect("UTF-8");
        }
        answer
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub(crate) fn assert_status(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
    }

    /// Panics where it is no refusal of this status that says so.
    pub(crate) fn assert_problem(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let content_type = self.header("content-type");
        assert_eq!(content_type, Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["title"].is_string(), "{problem}");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains(words), "{detail}");
    }
}
