//! How many requests a client may make: a token bucket for each.
//!
//! A bucket holds up to `burst` requests and fills by `per_second`. What is left is told with each
//! answer, by the headers of the IETF's draft "RateLimit header fields for HTTP" (version 5).
//!
//! Bounds: [`CLIENTS_MAX`] buckets; a full one is as good as none, so those go first. Where all are
//! in use, further clients share one.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use dashmap::DashMap;

use crate::http::client::Client;
use crate::http::problem::Problem;

const CLIENTS_MAX: usize = 100_000;

/// Requests of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub per_second: u32,
    pub burst: u32,
}

/// The buckets of all clients.
pub(super) struct Rates {
    limit: RateLimit,
    buckets: DashMap<Client, Bucket>,
}

/// What a client has left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Left {
    limit: RateLimit,
    /// Whether this request was one of them.
    taken: bool,
    requests: f64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    requests: f64,
    at: Instant,
}

impl Bucket {
    fn full(limit: RateLimit, now: Instant) -> Self {
        Bucket {
            requests: f64::from(limit.burst),
            at: now,
        }
    }

    fn fill(&mut self, limit: RateLimit, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let filled = self.requests + passed * f64::from(limit.per_second);
        self.requests = filled.min(f64::from(limit.burst));
        self.at = now;
    }

    fn take(&mut self, limit: RateLimit, now: Instant) -> Left {
        self.fill(limit, now);
        let taken = self.requests >= 1.0;
        if taken {
            self.requests -= 1.0;
        }
        Left {
            limit,
            taken,
            requests: self.requests,
        }
    }
}

impl Rates {
    pub(super) fn new(limit: RateLimit) -> Self {
        Rates {
            limit,
            buckets: DashMap::new(),
        }
    }

    pub(super) fn take(&self, client: &Client, now: Instant) -> Left {
        if let Some(mut bucket) = self.buckets.get_mut(client) {
            return bucket.take(self.limit, now);
        }
        if self.buckets.len() >= CLIENTS_MAX {
            let most = f64::from(self.limit.burst);
            self.buckets.retain(|_, bucket| {
                bucket.fill(self.limit, now);
                bucket.requests < most
            });
        }
        let client = match self.buckets.len() < CLIENTS_MAX {
            true => client.clone(),
            false => Client::Others,
        };
        let full = || Bucket::full(self.limit, now);
        let mut bucket = self.buckets.entry(client).or_insert_with(full);
        bucket.take(self.limit, now)
    }
}

impl Left {
    /// Refuses a request that was one too many.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.taken {
            return Ok(());
        }
        let per_second = f64::from(self.limit.per_second);
        let missing = (1.0 - self.requests) / per_second;
        let wait = Duration::from_secs_f64(missing.max(0.0))
            .as_secs_f64()
            .ceil();
        let detail = format!(
            "these are more than {} requests a second, {} at once; ask again after what \
             Retry-After says",
            self.limit.per_second, self.limit.burst
        );
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
        Err(problem.with_value(header::RETRY_AFTER, number(wait.max(1.0))))
    }

    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let burst = f64::from(self.limit.burst);
        let reset = ((burst - self.requests) / f64::from(self.limit.per_second)).ceil();
        for (name, value) in [
            ("ratelimit-limit", burst),
            ("ratelimit-remaining", self.requests.floor()),
            ("ratelimit-reset", reset),
        ] {
            headers.insert(HeaderName::from_static(name), number(value));
        }
    }
}

/// A whole number that is not negative.
fn number(value: f64) -> HeaderValue {
    HeaderValue::from(value as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::peer::Peer;

    const LIMIT: RateLimit = RateLimit {
        per_second: 2,
        burst: 3,
    };

    fn client(name: &str) -> Client {
        Client::Token(name.into())
    }

    #[test]
    fn a_token_a_subject_and_an_address_of_one_text_have_three_buckets() {
        let rates = Rates::new(LIMIT);
        let address = Peer::new([127, 0, 0, 1].into());
        let text = || Arc::clone(&address.text);
        let clients = [
            Client::Token(text()),
            Client::Subject(text()),
            Client::Network(address.network()),
        ];
        let now = Instant::now();
        for client in &clients {
            let taken = [(); 4].map(|()| rates.take(client, now).taken);
            assert_eq!(taken, [true, true, true, false], "{client:?}");
        }
    }

    #[test]
    fn a_bucket_empties_at_once_and_fills_by_and_by() {
        let rates = Rates::new(LIMIT);
        let client = self::client("one");
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let taken = |ms| rates.take(&client, at(ms)).taken;
        assert_eq!(
            [taken(0), taken(0), taken(0), taken(0)],
            [true, true, true, false]
        );
        assert_eq!([taken(499), taken(500), taken(501)], [false, true, false]);
        // Never more than the burst.
        let mut later = (0..5).map(|_| taken(60_000));
        assert_eq!(later.by_ref().filter(|taken| *taken).count(), 3);
        // Others have a bucket of their own, and a clock that goes back fills nothing.
        assert!(rates.take(&self::client("other"), at(0)).taken);
        assert!(!taken(0));
    }

    #[test]
    fn what_is_left_is_told() {
        let rates = Rates::new(LIMIT);
        let client = self::client("one");
        let now = Instant::now();
        let headers = |left: Left| {
            let mut headers = HeaderMap::new();
            left.tell(&mut headers);
            ["limit", "remaining", "reset"].map(|name| headers[format!("ratelimit-{name}")].clone())
        };
        assert_eq!(headers(rates.take(&client, now)), ["3", "2", "1"]);
        assert_eq!(headers(rates.take(&client, now)), ["3", "1", "1"]);
        assert_eq!(headers(rates.take(&client, now)), ["3", "0", "2"]);
        let refused = rates.take(&client, now);
        assert_eq!(headers(refused), ["3", "0", "2"]);
        let refused = refused.check().expect_err("one too many");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    }

    #[test]
    fn buckets_are_bounded() {
        let rates = Rates::new(LIMIT);
        let now = Instant::now();
        for client in 0..CLIENTS_MAX + 10 {
            rates.take(&self::client(&client.to_string()), now);
        }
        assert!(rates.buckets.len() <= CLIENTS_MAX + 1);
        // Later, all of them are full again.
        rates.take(&client("late"), now + Duration::from_secs(9));
        assert_eq!(rates.buckets.len(), 1);
    }
}
