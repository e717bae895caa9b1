//! Who may read which views.
//!
//! - A request names a token (`Authorization: Bearer …`): one of the configuration, or a JWT
//!   ([`jwt`](super::jwt)). Either has roles, and a role may read the views that it lists.
//!   Both may be replaced while the gateway runs ([`Access::replace`]); what is open by then is
//!   asked for again ([`Access::still_admits`]).
//! - Where neither tokens nor JWTs are configured, the gateway listens on loopback only (`config`
//!   sees to that), and whoever reaches it may read all views; but no page of another site, unless
//!   its origin is allowed ([`cors`](super::cors)).
//!
//! A view that somebody may not read is refused to them in the same words whether it exists or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::jwt::{Claims, Jwt};
use crate::http::client::Client;
use crate::http::credentials::{Fingerprint, bearer, fingerprint, same, unauthorized};
use crate::http::names::Names;
use crate::http::peer::Peer;
use crate::http::problem::Problem;

/// Tokens, JWTs and roles. Cloning it shares it.
#[derive(Clone)]
pub struct Access {
    current: Arc<watch::Sender<Arc<Credentials>>>,
    roles: Arc<BTreeMap<String, Views>>,
    /// By which whoever needs no token may ask.
    names: Names,
    /// For whoever needs no token.
    all: Arc<Views>,
}

/// What is taken at a time.
#[derive(Default)]
pub(super) struct Credentials {
    tokens: Vec<Known>,
    jwt: Option<Jwt>,
}

/// A token of the configuration.
#[derive(Clone)]
pub struct Token {
    /// Stands in the access log.
    pub name: Arc<str>,
    pub role: String,
    fingerprint: Fingerprint,
}

/// The same, with what it may read.
struct Known {
    token: Token,
    views: Arc<Views>,
}

/// What a role may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Views {
    #[default]
    All,
    These(BTreeSet<String>),
}

/// Who makes a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// For people: in refusals and the access log.
    pub(super) name: Arc<str>,
    /// For what is counted.
    pub(super) client: Client,
    /// IP address.
    pub(super) from: Arc<str>,
    /// When the token ends, where it does.
    pub(super) until: Option<Instant>,
    views: Arc<Views>,
    credential: Credential,
}

/// By what somebody was admitted.
#[derive(Clone, Debug)]
enum Credential {
    /// None is needed.
    None,
    Token(Fingerprint),
    Jwt(Arc<str>),
}

impl Token {
    pub fn new(name: impl Into<Arc<str>>, secret: &str, role: impl Into<String>) -> Self {
        Token {
            name: name.into(),
            role: role.into(),
            fingerprint: fingerprint(secret),
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Access::new(Vec::new(), None, BTreeMap::new())
    }
}

impl Access {
    pub fn new(tokens: Vec<Token>, jwt: Option<Jwt>, roles: BTreeMap<String, Views>) -> Self {
        let credentials = Credentials::new(tokens, jwt, &roles);
        Access {
            current: Arc::new(watch::Sender::new(Arc::new(credentials))),
            roles: Arc::new(roles),
            names: Names::default(),
            all: Arc::new(Views::All),
        }
    }

    /// The same, to be asked for by these names, too, where no token is needed.
    pub fn named(self, names: Names) -> Self {
        Access { names, ..self }
    }

    /// From now on, these tokens and JWTs are taken and no others.
    pub fn replace(&self, tokens: Vec<Token>, jwt: Option<Jwt>) {
        let credentials = Credentials::new(tokens, jwt, &self.roles);
        self.current.send_replace(Arc::new(credentials));
    }

    /// Tells whenever they have been replaced.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Credentials>> {
        self.current.subscribe()
    }

    /// Who sends this, from the other end of the connection.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        other_site_is_allowed: bool,
    ) -> Result<Caller, Problem> {
        let credentials = Arc::clone(&self.current.borrow());
        if credentials.are_none() {
            return match other_site_is_allowed || self.names.are_own(headers) {
                true => Ok(Caller {
                    name: Arc::clone(&peer.text),
                    client: Client::Network(peer.network()),
                    from: Arc::clone(&peer.text),
                    until: None,
                    views: Arc::clone(&self.all),
                    credential: Credential::None,
                }),
                false => Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "without a token the gateway answers to this machine only, by \"localhost\" \
                     or a loopback address, and not to other sites' pages; add gateway.tokens or \
                     gateway.jwt to its configuration, or the name to gateway.names, or the site \
                     to gateway.cors-origins",
                )),
            };
        }
        let secret = bearer(headers)?;
        let given = fingerprint(secret);
        if let Some(Known { token, views }) = credentials.token(&given) {
            return Ok(Caller {
                name: Arc::clone(&token.name),
                client: Client::Token(Arc::clone(&token.name)),
                from: Arc::clone(&peer.text),
                until: None,
                views: Arc::clone(views),
                credential: Credential::Token(given),
            });
        }
        let Some(jwt) = &credentials.jwt else {
            return Err(unauthorized(
                "this token is not one of the gateway's (gateway.tokens in its configuration)",
            ));
        };
        let claims = jwt.verify(secret).map_err(|refused| {
            unauthorized(format!(
                "this token is neither one of the gateway's nor a JWT that it takes: {refused}"
            ))
        })?;
        let views = Arc::new(self.views_of(&claims));
        let name: Arc<str> = claims.subject.into();
        Ok(Caller {
            client: Client::Subject(Arc::clone(&name)),
            name,
            from: Arc::clone(&peer.text),
            until: claims.until.map(instant),
            views,
            credential: Credential::Jwt(secret.into()),
        })
    }

    /// Whether somebody who was admitted would be admitted now, and may read the view.
    pub(super) fn still_admits(&self, caller: &Caller, view: &str) -> bool {
        let credentials = Arc::clone(&self.current.borrow());
        match &caller.credential {
            Credential::None => credentials.are_none(),
            Credential::Token(given) => credentials
                .token(given)
                .is_some_and(|known| known.views.contain(view)),
            Credential::Jwt(secret) => {
                let claims = credentials.jwt.as_ref().map(|jwt| jwt.verify(secret));
                let claims = claims.and_then(Result::ok);
                claims.is_some_and(|claims| self.views_of(&claims).contain(view))
            }
        }
    }

    fn views_of(&self, claims: &Claims) -> Views {
        views_of(&self.roles, claims.roles.iter().map(String::as_str))
    }
}

impl Credentials {
    fn new(tokens: Vec<Token>, jwt: Option<Jwt>, roles: &BTreeMap<String, Views>) -> Self {
        let known = tokens.into_iter().map(|token| Known {
            views: Arc::new(views_of(roles, [token.role.as_str()])),
            token,
        });
        Credentials {
            tokens: known.collect(),
            jwt,
        }
    }

    fn are_none(&self) -> bool {
        self.tokens.is_empty() && self.jwt.is_none()
    }

    fn token(&self, given: &Fingerprint) -> Option<&Known> {
        let mut tokens = self.tokens.iter();
        tokens.find(|known| same(&known.token.fingerprint, given))
    }
}

/// The moment of a Unix time, by the clock as it is now.
fn instant(unix_seconds: u64) -> Instant {
    let end = UNIX_EPOCH.checked_add(Duration::from_secs(unix_seconds));
    let left = end.and_then(|end| end.duration_since(SystemTime::now()).ok());
    let now = Instant::now();
    // What ends in a thousand years does not end for a stream.
    let left = left.unwrap_or_default().min(Duration::from_hours(24 * 365));
    now + left
}

/// What at least one of these roles may read. A role that nobody declared may read nothing.
fn views_of<'r>(
    roles: &BTreeMap<String, Views>,
    these: impl IntoIterator<Item = &'r str>,
) -> Views {
    let mut views = BTreeSet::new();
    for role in these {
        match roles.get(role) {
            Some(Views::All) => return Views::All,
            Some(Views::These(more)) => views.extend(more.iter().cloned()),
            None => {}
        }
    }
    Views::These(views)
}

impl Views {
    fn contain(&self, view: &str) -> bool {
        match self {
            Views::All => true,
            Views::These(views) => views.contains(view),
        }
    }
}

impl Caller {
    pub(super) fn may_read(&self, view: &str) -> bool {
        self.views.contain(view)
    }

    /// The same caller, who may read this view alone.
    pub(super) fn within(self, view: &str) -> Self {
        let views = match self.may_read(view) {
            true => BTreeSet::from([view.to_owned()]),
            false => BTreeSet::new(),
        };
        Caller {
            views: Arc::new(Views::These(views)),
            ..self
        }
    }

    pub(super) fn check(&self, view: &str) -> Result<(), Problem> {
        if self.may_read(view) {
            return Ok(());
        }
        let detail = format!(
            "\"{}\" may not read a view \"{view}\"; a role's views are in gateway.roles of the \
             host's configuration",
            self.name
        );
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn access() -> Access {
        let tokens = vec![
            Token::new("board", "b-secret", "some"),
            Token::new("duty", "d-secret", "all"),
            Token::new("lost", "l-secret", "undeclared"),
        ];
        let these = Views::These(["aircraft".to_owned()].into());
        let roles = [("some".to_owned(), these), ("all".to_owned(), Views::All)];
        Access::new(tokens, None, roles.into())
    }

    fn peer() -> Peer {
        Peer::new([127, 0, 0, 1].into())
    }

    fn admitted(authorization: &str) -> Result<Caller, Problem> {
        let mut headers = HeaderMap::new();
        let value = authorization.parse().expect("a header");
        headers.insert(header::AUTHORIZATION, value);
        access().admit(&headers, &peer(), false)
    }

    #[test]
    fn a_token_reads_what_its_role_lists() {
        let cases = [
            ("b-secret", "board", true, false),
            ("d-secret", "duty", true, true),
            ("l-secret", "lost", false, false),
        ];
        for (secret, name, aircraft, airports) in cases {
            let caller = admitted(&format!("Bearer {secret}")).expect(name);
            assert_eq!(&*caller.name, name);
            assert_eq!(caller.may_read("aircraft"), aircraft, "{name}");
            assert_eq!(caller.may_read("airports"), airports, "{name}");
        }
        for wrong in ["Bearer b-secre", "Bearer ", "Basic b-secret"] {
            let refused = admitted(wrong).expect_err(wrong);
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{wrong}");
        }
    }

    #[test]
    fn without_tokens_this_machine_reads_all_and_other_sites_nothing() {
        let cases = [
            ("localhost:9465", None, false, true),
            ("localhost:9465", Some("http://localhost:9465"), false, true),
            ("localhost:9465", Some("https://example.org"), false, false),
            ("localhost:9465", Some("https://example.org"), true, true),
            ("rebound.example.org:9465", None, false, false),
        ];
        for (host, origin, allowed, admitted) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a header"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("a header"));
            }
            let found = Access::default().admit(&headers, &peer(), allowed);
            assert_eq!(found.is_ok(), admitted, "{host} from {origin:?}");
        }
    }

    #[test]
    fn what_is_replaced_is_not_admitted_any_more() {
        let access = access();
        let mut headers = HeaderMap::new();
        let value = "Bearer b-secret".parse().expect("a header");
        headers.insert(header::AUTHORIZATION, value);
        let caller = access.admit(&headers, &peer(), false).expect("a token");
        assert!(access.still_admits(&caller, "aircraft"));
        assert!(!access.still_admits(&caller, "airports"));
        // The same secret in a smaller role, then another secret.
        access.replace(vec![Token::new("board", "b-secret", "undeclared")], None);
        assert!(!access.still_admits(&caller, "aircraft"));
        access.replace(vec![Token::new("board", "b-secret", "all")], None);
        assert!(access.still_admits(&caller, "aircraft"));
        access.replace(vec![Token::new("board", "another", "some")], None);
        assert!(!access.still_admits(&caller, "aircraft"));
        let refused = access.admit(&headers, &peer(), false);
        assert_eq!(
            refused.expect_err("it is gone").status(),
            StatusCode::UNAUTHORIZED
        );
    }
}
