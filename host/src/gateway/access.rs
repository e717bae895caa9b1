//! Who may read which views.
//!
//! - A request names a token (`Authorization: Bearer …`): one of the configuration, or a JWT
//!   ([`jwt`](super::jwt)). Either has roles, and a role may read the views that it lists.
//! - Where neither tokens nor JWTs are configured, the gateway listens on loopback only (`config`
//!   sees to that), and whoever reaches it may read all views; but no page of another site, unless
//!   its origin is allowed ([`cors`](super::cors)).
//!
//! A view that somebody may not read is refused to them in the same words whether it exists or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};

use super::jwt::Jwt;
use crate::http::credentials::{
    Fingerprint, bearer, fingerprint, is_of_this_machine, same, unauthorized,
};
use crate::http::problem::Problem;

/// Tokens, JWTs and roles.
#[derive(Default)]
pub struct Access {
    tokens: Vec<Known>,
    jwt: Option<Jwt>,
    roles: BTreeMap<String, Views>,
    /// For whoever needs no token.
    all: Arc<Views>,
}

/// A token of the configuration.
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
    /// For the limit on requests and the access log.
    pub(super) name: Arc<str>,
    /// IP address.
    pub(super) from: Arc<str>,
    views: Arc<Views>,
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

impl Access {
    pub fn new(tokens: Vec<Token>, jwt: Option<Jwt>, roles: BTreeMap<String, Views>) -> Self {
        let known = tokens.into_iter().map(|token| Known {
            views: Arc::new(views_of(&roles, [token.role.as_str()])),
            token,
        });
        Access {
            tokens: known.collect(),
            jwt,
            roles,
            all: Arc::new(Views::All),
        }
    }

    /// Who sends this. `from` names the other end of the connection.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        from: &Arc<str>,
        other_site_is_allowed: bool,
    ) -> Result<Caller, Problem> {
        if self.tokens.is_empty() && self.jwt.is_none() {
            return match other_site_is_allowed || is_of_this_machine(headers) {
                true => Ok(Caller {
                    name: Arc::clone(from),
                    from: Arc::clone(from),
                    views: Arc::clone(&self.all),
                }),
                false => Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "without a token the gateway answers to this machine only, by \"localhost\" \
                     or a loopback address, and not to other sites' pages; add gateway.tokens or \
                     gateway.jwt to its configuration, or the site to gateway.cors-origins",
                )),
            };
        }
        let secret = bearer(headers)?;
        let given = fingerprint(secret);
        let token = self
            .tokens
            .iter()
            .find(|known| same(&known.token.fingerprint, &given));
        if let Some(Known { token, views }) = token {
            return Ok(Caller {
                name: Arc::clone(&token.name),
                from: Arc::clone(from),
                views: Arc::clone(views),
            });
        }
        let Some(jwt) = &self.jwt else {
            return Err(unauthorized(
                "this token is not one of the gateway's (gateway.tokens in its configuration)",
            ));
        };
        let claims = jwt.verify(secret).map_err(|refused| {
            unauthorized(format!(
                "this token is neither one of the gateway's nor a JWT that it takes: {refused}"
            ))
        })?;
        let roles = claims.roles.iter().map(String::as_str);
        Ok(Caller {
            name: claims.subject.into(),
            from: Arc::clone(from),
            views: Arc::new(views_of(&self.roles, roles)),
        })
    }
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

impl Caller {
    pub(super) fn may_read(&self, view: &str) -> bool {
        match &*self.views {
            Views::All => true,
            Views::These(views) => views.contains(view),
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

    fn admitted(authorization: &str) -> Result<Caller, Problem> {
        let mut headers = HeaderMap::new();
        let value = authorization.parse().expect("a header");
        headers.insert(header::AUTHORIZATION, value);
        access().admit(&headers, &"127.0.0.1".into(), false)
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
            let found = Access::default().admit(&headers, &"127.0.0.1".into(), allowed);
            assert_eq!(found.is_ok(), admitted, "{host} from {origin:?}");
        }
    }
}
