//! JSON Web Tokens of others (RFC 7519): HS256 with a secret, RS256 with the keys of a JWKS file.
//!
//! `jsonwebtoken` reads and checks them; what it computes, ring computes for it ([`crypto`]).
//!
//! A token must have `exp`, and where issuer or audience are configured, those too. The clocks may
//! differ by [`LEEWAY`]. The algorithm is the key's, never the token's choice. A token that names
//! its key is verified with that one, another one with each. One that says that something of it is
//! critical (`crit`) is refused: nothing of that kind is known here.

use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use keys::KeySet;

mod crypto;
mod keys;

/// How far the clocks of this host and of the issuer may differ, in seconds.
const LEEWAY: u64 = 30;

/// Whose tokens are taken, and what they say of roles.
pub struct Jwt {
    keys: Keys,
    validation: Validation,
    role_claim: String,
    /// Keys of the file that cannot be used, each with the reason.
    left_out: Vec<String>,
}

/// What is asked of a token besides its signature.
#[derive(Clone, Debug)]
pub struct Terms {
    pub issuer: Option<String>,
    pub audience: Option<String>,
    /// The claim that holds a role, or a list of them.
    pub role_claim: String,
}

enum Keys {
    Secret(DecodingKey),
    /// By their ids; a key without one is tried for every token.
    Rsa(Vec<(Option<String>, DecodingKey)>),
}

/// What a token says of who sends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) subject: String,
    pub(super) roles: Vec<String>,
    /// When it ends, the leeway included, in Unix time.
    pub(super) until: Option<u64>,
}

/// A JWKS file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} (gateway.jwt.jwks) {message}", path.display())]
pub struct BadKeys {
    path: PathBuf,
    message: String,
}

impl Jwt {
    /// Tokens that are signed with a secret, by HS256.
    pub fn with_secret(secret: &str, terms: Terms) -> Self {
        let key = DecodingKey::from_secret(secret.as_bytes());
        Jwt::new(Keys::Secret(key), Algorithm::HS256, terms)
    }

    /// What is wrong with keys of the file that are left out.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Tokens that are signed with one of a file's RSA keys, by RS256.
    pub fn with_keys(path: &Path, terms: Terms) -> Result<Self, BadKeys> {
        let bad = |message: String| BadKeys {
            path: path.to_owned(),
            message,
        };
        let text = std::fs::read(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
        let set = KeySet::read(&text).map_err(bad)?;
        let jwt = Jwt::new(Keys::Rsa(set.keys), Algorithm::RS256, terms);
        Ok(Jwt {
            left_out: set.left_out,
            ..jwt
        })
    }

    fn new(keys: Keys, algorithm: Algorithm, terms: Terms) -> Self {
        crypto::install();
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if let Some(issuer) = &terms.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        match &terms.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        validation.set_required_spec_claims(&required);
        Jwt {
            keys,
            validation,
            role_claim: terms.role_claim,
            left_out: Vec::new(),
        }
    }

    /// Answers what a right token says, or what is wrong with it.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, String> {
        let header = decode_header(token).map_err(|error| error.to_string())?;
        if header.crit.is_some() {
            return Err("its header has \"crit\", of which nothing is known here".to_owned());
        }
        let claims = match &self.keys {
            Keys::Secret(key) => self.check(token, key)?,
            Keys::Rsa(keys) => {
                let fits =
                    |id: &Option<String>| id.is_none() || header.kid.is_none() || *id == header.kid;
                let named = keys.iter().filter(|(id, _)| fits(id));
                let mut outcome = Err("it is signed with none of the known keys".to_owned());
                for (_, key) in named {
                    outcome = self.check(token, key);
                    if outcome.is_ok() {
                        break;
                    }
                }
                outcome?
            }
        };
        let subject = claims.get("sub").and_then(Value::as_str);
        Ok(Claims {
            subject: subject.unwrap_or("jwt").to_owned(),
            roles: roles(claims.get(&self.role_claim)),
            until: claims.get("exp").and_then(Value::as_f64).map(end),
        })
    }

    fn check(&self, token: &str, key: &DecodingKey) -> Result<Map<String, Value>, String> {
        let decoded = decode(token, key, &self.validation);
        decoded
            .map(|decoded| decoded.claims)
            .map_err(|error| error.to_string())
    }
}

/// Of a token with this "exp". Fractions of a second are no more than the leeway has.
fn end(exp: f64) -> u64 {
    (exp.max(0.0) as u64).saturating_add(LEEWAY)
}

fn roles(claim: Option<&Value>) -> Vec<String> {
    let texts = |values: &[Value]| {
        let texts = values.iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    match claim {
        Some(Value::String(role)) => vec![role.clone()],
        Some(Value::Array(roles)) => texts(roles),
        _ => Vec::new(),
    }
}
