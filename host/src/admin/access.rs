//! Who may do what at the admin API.
//!
//! - A request names a token (`Authorization: Bearer …`), and a token has a [`Role`]; each role
//!   may what the one before it may. A token may be limited to some projections: then it is refused
//!   what concerns others, and lists leave them out.
//! - Where no token is configured, the host listens on loopback only (`config` sees to that), and
//!   whoever reaches it may everything. Web pages reach it too, in the browser of whoever works on
//!   this machine: so what comes from another site's page, or by another name than this machine's
//!   own, is refused.
//! - A few pages are open to all who reach the port by an address or by a name that is listed
//!   ([`names`](crate::http::names)). They show states and counts; what an event or a plugin may
//!   have put into a text is for those who may look ([`Viewer`]).
//!
//! Tokens may be replaced while the host runs ([`Access::replace`]).

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use tokio::sync::watch;

use super::problem::Problem;
use crate::http::client::Client;
use crate::http::credentials::{Fingerprint, bearer, fingerprint, same, unauthorized};
use crate::http::names::Names;
use crate::http::peer::Peer;

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

/// Which projections a token is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    All,
    These(Arc<BTreeSet<String>>),
}

/// A name that requests are made under.
#[derive(Clone)]
pub struct Token {
    /// Stands in what is kept of a change.
    pub name: Arc<str>,
    pub role: Role,
    pub scope: Scope,
    digest: Fingerprint,
}

/// All tokens; without any, whoever reaches the port may everything. Cloning it shares it.
#[derive(Clone)]
pub struct Access {
    tokens: Arc<watch::Sender<Arc<[Token]>>>,
    names: Names,
}

/// Who makes a request: what a guarded route may ask for as an `Extension`.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Of the token.
    pub(super) name: Arc<str>,
    /// The other end of the connection, which may be a proxy.
    pub(super) address: IpAddr,
    /// For what is counted.
    pub(super) client: Client,
    pub(super) scope: Scope,
}

/// Who looks at an open page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Viewer {
    Anyone,
    /// Somebody who may look at everything.
    Reader,
}

/// What those are called who need no token.
const LOOPBACK: &str = "loopback";

/// Parts of paths that name a projection, or a policy of one.
const PROJECTION_PARTS: [&str; 2] = ["name", "projection"];

impl Token {
    pub fn new(name: impl Into<Arc<str>>, secret: &str, role: Role) -> Self {
        Token {
            name: name.into(),
            role,
            scope: Scope::All,
            digest: fingerprint(secret),
        }
    }

    /// The same, for these projections only.
    pub fn limited(self, scope: Scope) -> Self {
        Token { scope, ..self }
    }
}

impl Scope {
    /// Whether what is named is one of these projections, in whichever copy, or the policy of
    /// one. The policies of stores are nobody's who is limited.
    pub(super) fn has(&self, subject: &str) -> bool {
        let Scope::These(projections) = self else {
            return true;
        };
        let projection = subject.strip_suffix(".placement").unwrap_or(subject);
        let projection = projection.split('@').next().unwrap_or(projection);
        projections.contains(projection)
    }
}

impl Default for Access {
    fn default() -> Self {
        Access::new([])
    }
}

impl Access {
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Self {
        Access {
            tokens: Arc::new(watch::Sender::new(tokens.into_iter().collect())),
            names: Names::default(),
        }
    }

    /// The same, to be asked for by these names, too.
    pub fn named(self, names: Names) -> Self {
        Access { names, ..self }
    }

    /// From now on, these tokens are taken and no others.
    pub fn replace(&self, tokens: impl IntoIterator<Item = Token>) {
        self.tokens.send_replace(tokens.into_iter().collect());
    }

    /// A route that is open to this role and those above it.
    pub(super) fn guard<S>(&self, role: Role, route: MethodRouter<S>) -> MethodRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        route.route_layer(from_fn_with_state((self.clone(), role), admit))
    }

    /// A route that is open to all.
    pub(super) fn open<S>(&self, route: MethodRouter<S>) -> MethodRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        route.route_layer(from_fn_with_state(self.clone(), show))
    }

    /// Who may do what takes this role.
    fn admit(&self, headers: &HeaderMap, peer: &Peer, role: Role) -> Result<Caller, Problem> {
        let tokens = Arc::clone(&self.tokens.borrow());
        if tokens.is_empty() {
            self.check_site(headers)?;
            return Ok(Caller {
                name: LOOPBACK.into(),
                address: peer.address,
                client: Client::Network(peer.network()),
                scope: Scope::All,
            });
        }
        let digest = fingerprint(bearer(headers)?);
        let token = tokens.iter().find(|token| same(&token.digest, &digest));
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
        Ok(Caller {
            name: Arc::clone(&token.name),
            address: peer.address,
            client: Client::Token(Arc::clone(&token.name)),
            scope: token.scope.clone(),
        })
    }

    /// What an open page may show.
    fn view(&self, headers: &HeaderMap, peer: &Peer) -> Result<Viewer, Problem> {
        match self.admit(headers, peer, Role::Read) {
            Ok(caller) if caller.scope == Scope::All => return Ok(Viewer::Reader),
            // Another site's page has no token.
            Ok(_) => return Ok(Viewer::Anyone),
            Err(_) => {}
        }
        let host = headers.get(header::HOST);
        let host = host.map(|host| host.to_str().unwrap_or(""));
        // Only programs of HTTP/1.0 come without, and no browser is one.
        if host.is_none_or(|host| self.names.allow(host)) {
            return Ok(Viewer::Anyone);
        }
        let detail = "this host is not asked for by that name; ask for it by an address, add the \
                      name to host.names in its configuration, or send a token";
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }

    /// Refuses what a page of another site sends, and what came by a name that such a site may
    /// have given this address (DNS rebinding).
    fn check_site(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.names.are_own(headers) {
            return Ok(());
        }
        let detail = "without a token the host answers to this machine only, by \"localhost\" or \
                      a loopback address, and not to other sites' pages; add host.tokens to its \
                      configuration, or the name to host.names";
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

impl Caller {
    /// Refuses what concerns a projection that the token is not for.
    pub(super) fn check(&self, subject: &str) -> Result<(), Problem> {
        if self.scope.has(subject) {
            return Ok(());
        }
        let detail = format!(
            "the token of \"{}\" is not for \"{subject}\"; its projections are in \
             host.tokens.{}.projections of the host's configuration",
            self.name, self.name
        );
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

async fn admit(
    State((access, role)): State<(Access, Role)>,
    parts: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = access.admit(request.headers(), &peer(&request), role);
    let caller = caller.and_then(|caller| {
        let mut named = parts.iter();
        let named = named.find(|(part, _)| PROJECTION_PARTS.contains(part));
        named.map_or(Ok(()), |(_, subject)| caller.check(subject))?;
        Ok(caller)
    });
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn show(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    match access.view(request.headers(), &peer(&request)) {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn peer(request: &Request) -> Peer {
    let peer = request.extensions().get::<Peer>();
    peer.cloned()
        .expect("each connection tells of its other end")
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

    fn peer() -> Peer {
        Peer::new([127, 0, 0, 1].into())
    }

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
            let found = access.admit(&headers(&[(header::AUTHORIZATION, value)]), &peer(), role);
            let found = found.map(|caller| caller.name.to_string());
            let found = found.map_err(|problem| problem.status());
            assert_eq!(found, expected.map(str::to_owned), "{value} as {role}");
        }
        let nobody = access.admit(
            &headers(&[(header::HOST, "localhost")]),
            &peer(),
            Role::Read,
        );
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
            let found = Access::default().admit(&headers(&pairs), &peer(), Role::Operate);
            assert_eq!(found.is_ok(), admitted, "{host} from {origin:?}");
        }
    }

    #[test]
    fn open_pages_are_for_addresses_and_listed_names_and_show_more_to_those_who_may_look() {
        let names: Names = ["host.example.org".to_owned()].into_iter().collect();
        let limited = Scope::These(Arc::new(["tally".to_owned()].into()));
        let access = Access::new([
            Token::new("board", "r-secret", Role::Read),
            Token::new("team", "t-secret", Role::Operate).limited(limited),
        ]);
        let access = access.named(names);
        let (anyone, reader) = (Some(Viewer::Anyone), Some(Viewer::Reader));
        let cases = [
            ("192.0.2.1:9464", None, anyone),
            ("host.example.org:9464", None, anyone),
            ("rebound.example.org:9464", None, None),
            ("rebound.example.org:9464", Some("Bearer guess"), None),
            ("rebound.example.org:9464", Some("Bearer r-secret"), reader),
            ("192.0.2.1:9464", Some("Bearer guess"), anyone),
            ("192.0.2.1:9464", Some("Bearer t-secret"), anyone),
        ];
        for (host, token, expected) in cases {
            let mut pairs = vec![(header::HOST, host)];
            pairs.extend(token.map(|token| (header::AUTHORIZATION, token)));
            let found = access.view(&headers(&pairs), &peer()).ok();
            assert_eq!(found, expected, "{host} with {token:?}");
        }
        // Without tokens, whoever may everything may look.
        let found = Access::default().view(&headers(&[(header::HOST, "localhost")]), &peer());
        assert_eq!(found.ok(), reader);
        let rebound = headers(&[(header::HOST, "rebound.example.org")]);
        assert!(Access::default().view(&rebound, &peer()).is_err());
    }

    #[test]
    fn a_limited_token_is_for_its_projections_in_each_copy() {
        let scope = Scope::These(Arc::new(["tally".to_owned()].into()));
        let cases = [
            ("tally", true),
            ("tally@east", true),
            ("tally.placement", true),
            ("tally.routing", false),
            ("tallies", false),
            ("other", false),
            ("other@tally", false),
        ];
        for (subject, has) in cases {
            assert_eq!(scope.has(subject), has, "{subject}");
            assert!(Scope::All.has(subject));
        }
    }

    #[test]
    fn a_token_that_is_replaced_is_not_taken_any_more() {
        let access = Access::new([Token::new("board", "old-secret", Role::Read)]);
        let shared = access.clone();
        shared.replace([Token::new("board", "new-secret", Role::Read)]);
        let admit = |value| {
            let headers = headers(&[(header::AUTHORIZATION, value)]);
            access.admit(&headers, &peer(), Role::Read).is_ok()
        };
        assert!(admit("Bearer new-secret") && !admit("Bearer old-secret"));
    }
}
