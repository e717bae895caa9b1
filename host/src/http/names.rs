//! By which names a port is asked for.
//!
//! A page of another site may have given its own name this host's address (DNS rebinding): its
//! browser then takes the host's answers for that site's. So a name that nobody has listed is
//! nobody's to ask by, unless a token comes along. An address is no such name.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::http::{HeaderMap, Request, StatusCode, Version, header};

use super::problem::Problem;

/// Further names, as the configuration lists them; `*` stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeSet<String>);

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Names(names.into_iter().map(|name| name.to_lowercase()).collect())
    }
}

impl Names {
    /// True where a port may be asked for by what stands in `Host`.
    pub(crate) fn allow(&self, host: &str) -> bool {
        self.has(host) || is_localhost(host) || address(host).is_some()
    }

    /// True where a request comes from this machine by one of its own names, or by a listed one,
    /// and from none of other sites' pages.
    pub(crate) fn are_own(&self, headers: &HeaderMap) -> bool {
        let host = text(headers, header::HOST).unwrap_or("");
        let own = self.has(host) || is_localhost(host) || is_loopback(host);
        own && !is_of_another_site(headers)
    }

    fn has(&self, host: &str) -> bool {
        let name = name(host).trim_end_matches('.').to_lowercase();
        self.0.contains(&name) || self.0.contains("*")
    }
}

/// True where a browser says that a page of another site asks.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let host = text(headers, header::HOST).unwrap_or("");
    let is_own = |origin: &str| {
        let site = origin.split_once("://").map(|(_, site)| site);
        site == Some(host)
    };
    let from_elsewhere = text(headers, header::ORIGIN).is_some_and(|origin| !is_own(origin));
    // "none" is what a user has typed. Browsers send it where they send no "Origin", too.
    let site = text(headers, header::HeaderName::from_static("sec-fetch-site"));
    from_elsewhere || site.is_some_and(|site| !["none", "same-origin"].contains(&site))
}

/// Every request of HTTP/1.1 has one `Host`, and none has two (RFC 9112, 3.2).
pub(super) fn check_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let detail = match (first, second) {
        (None, _) if request.version() < Version::HTTP_11 => return Ok(()),
        (None, _) => "the request has no header Host",
        (Some(_), Some(_)) => "the request has more than one header Host",
        (Some(host), None) => {
            let authority = request
                .uri()
                .authority()
                .map(|authority| authority.as_str());
            let host = host.to_str().unwrap_or("");
            let is_legal = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]%".contains(&b);
            if !host.bytes().all(is_legal) {
                "the header Host is no name and no address"
            } else if authority.is_some_and(|authority| !authority.eq_ignore_ascii_case(host)) {
                "the header Host and the request's target name different hosts"
            } else {
                return Ok(());
            }
        }
    };
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or(""))
}

/// What stands in `Host`, without the port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_localhost(host: &str) -> bool {
    name(host).eq_ignore_ascii_case("localhost")
}

fn address(host: &str) -> Option<IpAddr> {
    let name = name(host);
    let inner = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    inner.unwrap_or(name).parse().ok()
}

fn is_loopback(host: &str) -> bool {
    address(host).is_some_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn a_port_is_asked_for_by_addresses_and_by_names_that_are_listed() {
        let names: Names = ["Views.example.org".to_owned()].into_iter().collect();
        let cases = [
            ("localhost:9464", true),
            ("LOCALHOST", true),
            ("192.0.2.1:9464", true),
            ("[2001:db8::1]:9464", true),
            ("views.example.org", true),
            ("VIEWS.example.org.:9464", true),
            ("rebound.example.org:9464", false),
            ("localhost.example.org", false),
            ("", false),
        ];
        for (host, allowed) in cases {
            assert_eq!(names.allow(host), allowed, "{host}");
        }
        let all: Names = ["*".to_owned()].into_iter().collect();
        assert!(all.allow("rebound.example.org"));
    }

    #[test]
    fn what_a_page_of_another_site_asks_is_not_this_machines() {
        let cases: [(&[(&str, &str)], bool); 9] = [
            (&[], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("origin", "http://localhost:9464")], true),
            (&[("origin", "http://localhost:8080")], false),
            (&[("origin", "null")], false),
            (
                &[
                    ("origin", "http://localhost:9464"),
                    ("sec-fetch-site", "cross-site"),
                ],
                false,
            ),
        ];
        for (more, own) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:9464".parse().expect("a value"));
            for (name, value) in more {
                let name: header::HeaderName = name.parse().expect("a name");
                headers.insert(name, value.parse().expect("a value"));
            }
            assert_eq!(Names::default().are_own(&headers), own, "{more:?}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        let cases: [(&str, &[&str], Version, bool); 7] = [
            ("/", &["localhost"], Version::HTTP_11, true),
            ("/", &[], Version::HTTP_11, false),
            ("/", &[], Version::HTTP_10, true),
            ("/", &["localhost", "localhost"], Version::HTTP_11, false),
            ("/", &["local host"], Version::HTTP_11, false),
            ("http://a.example/", &["a.example"], Version::HTTP_11, true),
            ("http://a.example/", &["localhost"], Version::HTTP_11, false),
        ];
        for (uri, hosts, version, right) in cases {
            let mut request = Request::builder().uri(uri).version(version);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            let request = request.body(Body::empty()).expect("a request");
            assert_eq!(
                check_host(&request).is_ok(),
                right,
                "{uri} {hosts:?} {version:?}"
            );
        }
    }
}
