//! Who sends a request: its bearer token, or this machine itself.

use std::net::IpAddr;

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

/// True where a request comes from this machine by one of its own names, and from none of other
/// sites' pages: such a site may have given its own name this address (DNS rebinding).
pub(crate) fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let host = text(header::HOST).unwrap_or("");
    let origin_is_host = |origin: &str| {
        let site = origin.split_once("://").map(|(_, site)| site);
        site == Some(host)
    };
    is_loopback(host) && text(header::ORIGIN).is_none_or(origin_is_host)
}

/// Of `localhost:9464`, `127.0.0.1:9464` and `[::1]:9464`, with or without the port.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = address.parse().ok();
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}
