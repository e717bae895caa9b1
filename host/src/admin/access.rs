//! Who may do what at the admin API.
//!
//! - A request names a token (`Authorization: Bearer …`), and a token has a [`Role`]; each role
//!   may what the one before it may.
//! - Where no token is configured, the host listens on loopback only (`config` sees to that), and
//!   whoever reaches it may everything. Web pages reach it too, in the browser of whoever works on
//!   this machine: so what comes from another site's page, or by another name than this machine's
//!   own, is refused.
//!
//! Not here: `/metrics` and `/health`, which are open to all who reach the port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use super::problem::Problem;
use crate::http::credentials::{
    Fingerprint, bearer, fingerprint, is_of_this_machine, same, unauthorized,
};

/// What a token allows, each more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// To look.
    Read,
    /// To change which plugins there are and which of them run, too.
    Deploy,
    /// To decide about events, too: to fold what is parked, or give it up.
    Operate,
}

/// A name that requests are made under.
pub struct Token {
    /// Stands in what is kept of a change.
    pub name: String,
    pub role: Role,
    digest: Fingerprint,
}

/// All tokens; without any, whoever reaches the port may everything.
#[derive(Clone, Default)]
pub struct Access(Arc<[Token]>);

/// Who makes a request: what a guarded route may ask for as an `Extension`.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Of the token.
    pub(super) name: Arc<str>,
    /// The other end of the connection, which may be a proxy.
    pub(super) address: IpAddr,
}

/// What those are called who need no token.
const LOOPBACK: &str = "loopback";

impl Token {
    pub fn new(name: impl Into<String>, secret: &str, role: Role) -> Self {
        Token {
            name: name.into(),
            role,
            digest: fingerprint(secret),
        }
    }
}

impl Access {
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Self {
        Access(tokens.into_iter().collect())
    }

    /// A route that is open to this role and those above it.
    pub(super) fn guard<S>(&self, role: Role, route: MethodRouter<S>) -> MethodRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        route.route_layer(from_fn_with_state((self.clone(), role), admit))
    }

    /// The name of who may do what takes this role.
    fn admit(&self, headers: &HeaderMap, role: Role) -> Result<Arc<str>, Problem> {
        if self.0.is_empty() {
            check_site(headers)?;
            return Ok(LOOPBACK.into());
        }
        let digest = fingerprint(bearer(headers)?);
        let token = self.0.iter().find(|token| same(&token.digest, &digest));
        let token = token.ok_or_else(|| {
            unauthorized("this token is not one of the host's (host.tokens in its configuration)")
        })?;
        if token.role < role {
            let detail = format!(
                "this needs a token of role \"{role}\", and that of \"{}\" has role \"{}\"",
                token.name, token.role
            );
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(token.name.as_str().into())
    }
}

async fn admit(
    State((access, role)): State<(Access, Role)>,
    ConnectInfo(other): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    match access.admit(request.headers(), role) {
        Ok(name) => {
            let address = other.ip();
            request.extensions_mut().insert(Caller { name, address });
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Refuses what a page of another site sends, and what came by a name that such a site may have
/// given this address (DNS rebinding).
fn check_site(headers: &HeaderMap) -> Result<(), Problem> {
    if is_of_this_machine(headers) {
        return Ok(());
    }
    let detail = "without a token the host answers to this machine only, by \"localhost\" or a \
                  loopback address, and not to other sites' pages; add host.tokens to its \
                  configuration";
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Read => "read",
            Role::Deploy => "deploy",
            Role::Operate => "operate",
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = value.parse().expect("a header's value");
            (name.clone(), value)
        });
        pairs.collect()
    }

    #[test]
    fn a_token_may_what_its_role_may() {
        let access = Access::new([
            Token::new("board", "r-secret", Role::Read),
            Token::new("ci", "d-secret", Role::Deploy),
        ]);
        let cases = [
            ("Bearer r-secret", Role::Read, Ok("board")),
            ("bearer d-secret", Role::Read, Ok("ci")),
            ("Bearer d-secret", Role::Deploy, Ok("ci")),
            ("Bearer r-secret", Role::Deploy, Err(StatusCode::FORBIDDEN)),
            ("Bearer d-secret", Role::Operate, Err(StatusCode::FORBIDDEN)),
            ("Bearer r-secre", Role::Read, Err(StatusCode::UNAUTHORIZED)),
            ("Bearer ", Role::Read, Err(StatusCode::UNAUTHORIZED)),
            ("Basic r-secret", Role::Read, Err(StatusCode::UNAUTHORIZED)),
            ("r-secret", Role::Read, Err(StatusCode::UNAUTHORIZED)),
        ];
        for (value, role, expected) in cases {
            let found = access.admit(&headers(&[(header::AUTHORIZATION, value)]), role);
            let found = found.map(|name| name.to_string());
            let found = found.map_err(|problem| problem.status());
            assert_eq!(found, expected.map(str::to_owned), "{value} as {role}");
        }
        let nobody = access.admit(&headers(&[(header::HOST, "localhost")]), Role::Read);
        let problem = nobody.expect_err("loopback does not help where there are tokens");
        assert_eq!(problem.status(), StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn without_tokens_pages_of_other_sites_are_refused() {
        let cases = [
            ("localhost:9464", None, true),
            ("LOCALHOST", None, true),
            ("127.0.0.1:9464", None, true),
            ("[::1]:9464", None, true),
            ("localhost:9464", Some("http://localhost:9464"), true),
            ("localhost:9464", Some("http://localhost:8080"), false),
            ("localhost:9464", Some("https://example.org"), false),
            ("localhost:9464", Some("null"), false),
            ("rebound.example.org:9464", None, false),
            ("localhost.example.org", None, false),
            ("192.0.2.1:9464", None, false),
            ("", None, false),
        ];
        for (host, origin, admitted) in cases {
            let mut pairs = vec![(header::HOST, host)];
            pairs.extend(origin.map(|origin| (header::ORIGIN, origin)));
            let found = Access::default().admit(&headers(&pairs), Role::Operate);
            assert_eq!(found.is_ok(), admitted, "{host} from {origin:?}");
        }
    }
}
