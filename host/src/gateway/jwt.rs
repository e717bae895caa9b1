//! JSON Web Tokens of others (RFC 7519): HS256 with a secret, RS256 with the keys of a JWKS file.
//!
//! `jsonwebtoken` reads and checks them; what it computes, ring computes for it ([`crypto`]).
//!
//! A token must have `exp`, and where issuer or audience are configured, those too. The clocks may
//! differ by [`LEEWAY`]. The algorithm is the key's, never the token's choice.

use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

mod crypto;

/// How far the clocks of this host and of the issuer may differ, in seconds.
const LEEWAY: u64 = 30;

/// Whose tokens are taken, and what they say of roles.
pub struct Jwt {
    keys: Keys,
    validation: Validation,
    role_claim: String,
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

    /// Tokens that are signed with one of a file's RSA keys, by RS256.
    pub fn with_keys(path: &Path, terms: Terms) -> Result<Self, BadKeys> {
        let bad = |message: String| BadKeys {
            path: path.to_owned(),
            message,
        };
        let text = std::fs::read(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
        let keys = read_keys(&text).map_err(bad)?;
        Ok(Jwt::new(Keys::Rsa(keys), Algorithm::RS256, terms))
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
        }
    }

    /// Answers what a right token says, or what is wrong with it.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, String> {
        let claims = match &self.keys {
            Keys::Secret(key) => self.check(token, key)?,
            Keys::Rsa(keys) => {
                let header = decode_header(token).map_err(|error| error.to_string())?;
                let named = keys
                    .iter()
                    .filter(|(id, _)| id.is_none() || *id == header.kid);
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
        })
    }

    fn check(&self, token: &str, key: &DecodingKey) -> Result<Map<String, Value>, String> {
        let decoded = decode(token, key, &self.validation);
        decoded
            .map(|decoded| decoded.claims)
            .map_err(|error| error.to_string())
    }
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

fn read_keys(text: &[u8]) -> Result<Vec<(Option<String>, DecodingKey)>, String> {
    let set: JwkSet =
        serde_json::from_slice(text).map_err(|error| format!("is no JWKS: {error}"))?;
    let mut keys = Vec::new();
    for key in &set.keys {
        let is_rsa = matches!(key.algorithm, AlgorithmParameters::RSA(_));
        let of_another = key
            .common
            .key_algorithm
            .is_some_and(|of| of != KeyAlgorithm::RS256);
        // A set may hold keys for other purposes.
        if is_rsa && !of_another {
            let read = DecodingKey::from_jwk(key);
            let read = read.map_err(|error| format!("has a key that cannot be read: {error}"))?;
            keys.push((key.common.key_id.clone(), read));
        }
    }
    if keys.is_empty() {
        return Err("has no RSA key for RS256; export the issuer's keys again".to_owned());
    }
    Ok(keys)
}
