//! What commands ask of a running host, over its admin API.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use super::{Failure, load};

/// Which host, and the token for it.
#[derive(Debug, Args)]
pub(super) struct HostAddress {
    /// Where the host listens, such as http://127.0.0.1:9464; by default as its configuration says
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The host's configuration, for its address
    #[arg(long, value_name = "FILE", env = "PROJECTIONIST_CONFIG")]
    config: Option<PathBuf>,
    /// A file with a token of the host; by default the variable PROJECTIONIST_TOKEN is the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A host that can be asked.
pub(super) struct Client {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

const TOKEN_VARIABLE: &str = "PROJECTIONIST_TOKEN";

/// Where a host listens whose configuration does not say.
const DEFAULT_URL: &str = "http://127.0.0.1:9464";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// To check a plugin takes seconds, and others may come first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// A token is short; this is another file.
const TOKEN_BYTES_MAX: u64 = 4 << 10;

/// Answers are lists of what is known, not of what is stored.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

impl HostAddress {
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let url = match (&self.url, &self.config) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(config)) => {
                format!("http://{}", reachable(load(config)?.host.listen))
            }
            (None, None) => DEFAULT_URL.to_owned(),
        };
        if !url.starts_with("http://") {
            return Err(Failure::Wrong(anyhow!(
                "\"{url}\" does not start with http://, which is all that a host speaks; where TLS \
                 is before it, go through a tunnel or by curl"
            )));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .build();
        Ok(Client {
            agent: config.into(),
            url,
            authorization: self.token()?.map(|token| format!("Bearer {token}")),
        })
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else {
            let token = std::env::var(TOKEN_VARIABLE).ok();
            return Ok(token.filter(|token| !token.is_empty()));
        };
        let mut token = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut token));
        read.with_context(|| format!("cannot read the token in {}", path.display()))?;
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::Wrong(anyhow!(
                "{} holds no token; a token is one line of ASCII letters, digits and signs",
                path.display()
            )));
        }
        Ok(Some(token.to_owned()))
    }
}

impl Client {
    /// Asks for a page, by its path.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let (_, body) = self.read(request.call())?;
        Ok(body)
    }

    /// Asks to remove what is at a path.
    pub(super) fn delete(&self, path: &str) -> Result<Value, Failure> {
        let mut request = self.agent.delete(format!("{}{path}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let (_, body) = self.read(request.call())?;
        Ok(body)
    }

    /// Asks for a change.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.url));
        let mut request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let (_, body) = self.read(request.send(body.to_string()))?;
        Ok(body)
    }

    /// Sends a file; answers with what status it was taken.
    pub(super) fn put(&self, path: &str, file: &[u8]) -> Result<(StatusCode, Value), Failure> {
        let request = self.agent.put(format!("{}{path}", self.url));
        // Who is refused need not send it all.
        let mut request = request.header(header::EXPECT, "100-continue");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        self.read(request.send(file))
    }

    fn read(
        &self,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<(StatusCode, Value), Failure> {
        let silent = |error: ureq::Error| {
            Failure::Unavailable(anyhow!(
                "no host answers at {}: {error}; start it, or name its address with --url",
                self.url
            ))
        };
        let mut answer = answer.map_err(silent)?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = body.read_to_vec().map_err(silent)?;
        let body: Option<Value> = serde_json::from_slice(&body).ok();
        match body {
            Some(body) if status.is_success() => Ok((status, body)),
            Some(problem) if problem["detail"].is_string() => Err(refused(status, &problem)),
            Some(_) | None => Err(Failure::Other(anyhow!(
                "what answers at {} is no host of this version: {status}",
                self.url
            ))),
        }
    }
}

/// What may be a part of a path as it is: names and hashes.
pub(super) fn segment<'a>(what: &str, text: &'a str) -> Result<&'a str, Failure> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !text.is_empty() && text.bytes().all(fits) {
        return Ok(text);
    }
    Err(Failure::Other(anyhow!("\"{text}\" is no {what}")))
}

/// What plugins are deployed for, as a part of a path: `PROJECTION`, or a policy's name, which is
/// `PROJECTION.placement` or `STORE.routing`.
pub(super) fn subject(text: &str) -> Result<&str, Failure> {
    let what = "projection or policy";
    match text.split_once('.') {
        None => segment(what, text),
        Some((whose, policy)) => {
            let parts = [segment(what, whose), segment(what, policy)];
            let refused = parts.into_iter().any(|part| part.is_err());
            match refused {
                false => Ok(text),
                true => Err(Failure::Other(anyhow!("\"{text}\" is no {what}"))),
            }
        }
    }
}

/// What a host refuses, as a command ends with it.
fn refused(status: StatusCode, problem: &Value) -> Failure {
    let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
    match status {
        StatusCode::UNAUTHORIZED => Failure::Other(anyhow!(
            "{detail} (--token-file, or the variable {TOKEN_VARIABLE})"
        )),
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
            Failure::Wrong(anyhow!(detail))
        }
        StatusCode::SERVICE_UNAVAILABLE => Failure::Unavailable(anyhow!(detail)),
        _ => Failure::Other(anyhow!(detail)),
    }
}

/// Where to reach, on this machine, what listens on an address.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_subject_and_a_path_is_none() {
        for text in ["tally", "main.routing", "tally-2.placement"] {
            assert_eq!(subject(text).ok(), Some(text));
        }
        for text in [
            "",
            ".",
            "..",
            "../parked",
            "a.b.c",
            "a/b",
            "main.",
            ".routing",
            "a b",
        ] {
            assert!(subject(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_that_listens_everywhere_is_asked_on_loopback() {
        let cases = [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("192.0.2.1:3", "192.0.2.1:3"),
        ];
        for (listen, expected) in cases {
            let listen = listen.parse().expect("an address");
            assert_eq!(reachable(listen).to_string(), expected);
        }
    }
}
