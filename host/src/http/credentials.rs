//! The secret that a request bears.

use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// What is kept of a secret.
pub(crate) type Fingerprint = [u8; 32];

pub(crate) fn fingerprint(secret: &str) -> Fingerprint {
    Sha256::digest(secret).into()
}

/// The token that a request names.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let value = headers.get(header::AUTHORIZATION);
    let value = value.ok_or_else(|| {
        unauthorized("this needs a token; send it as \"Authorization: Bearer TOKEN\"")
    })?;
    let parts = value.to_str().ok().and_then(|text| text.split_once(' '));
    match parts {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(unauthorized(
            "the header Authorization is not of the form \"Bearer TOKEN\"",
        )),
    }
}

pub(crate) fn unauthorized(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(header::WWW_AUTHENTICATE, "Bearer")
}

/// In a time that does not tell how much of them is the same.
pub(crate) fn same(one: &Fingerprint, other: &Fingerprint) -> bool {
    let pairs = one.iter().zip(other);
    pairs.fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}
