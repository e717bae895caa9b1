//! How many streams of events there may be, of all readers and of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{StatusCode, header};
use metrics::gauge;

use crate::http::client::Client;
use crate::http::problem::Problem;

/// The open streams. Cloning it shares it.
#[derive(Clone)]
pub(super) struct Streams(Arc<Shared>);

struct Shared {
    all_max: usize,
    per_client_max: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    count: usize,
    by_client: HashMap<Client, usize>,
}

/// Counts a stream as long as it lives.
pub(super) struct Place {
    streams: Streams,
    client: Client,
}

impl Streams {
    pub(super) fn new(all_max: usize, per_client_max: usize) -> Self {
        Streams(Arc::new(Shared {
            all_max,
            per_client_max,
            open: Mutex::default(),
        }))
    }

    /// Finds a place for one more stream.
    pub(super) fn enter(&self, client: &Client) -> Result<Place, Problem> {
        let mut open = self.open();
        if open.count >= self.0.all_max {
            let detail = "this host serves as many streams as it may (gateway.streams); ask \
                          another host, or later";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
            return Err(problem.with(header::RETRY_AFTER, "10"));
        }
        let own = open.by_client.get(client).copied().unwrap_or(0);
        if own >= self.0.per_client_max {
            let detail = format!(
                "this host serves you as many streams as it may ({own}, \
                 gateway.streams-per-client); close some"
            );
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
            return Err(problem.with(header::RETRY_AFTER, "10"));
        }
        open.by_client.insert(client.clone(), own + 1);
        open.count += 1;
        gauge!("projectionist_gateway_streams").increment(1.0);
        Ok(Place {
            streams: self.clone(),
            client: client.clone(),
        })
    }

    /// Nobody panics in there.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.open();
        open.count -= 1;
        if let Some(own) = open.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                open.by_client.remove(&self.client);
            }
        }
        gauge!("projectionist_gateway_streams").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_has_its_share_and_leaves_the_rest() {
        let streams = Streams::new(4, 3);
        let client = |name: &str| Client::Token(name.into());
        let enter = |name: &str| streams.enter(&client(name)).map_err(|full| full.status());
        let mut greedy: Vec<Place> = (0..3).map(|_| enter("greedy").expect("a place")).collect();
        let refused = enter("greedy").err();
        assert_eq!(refused, Some(StatusCode::TOO_MANY_REQUESTS));
        let _other = enter("other").expect("a place of another client");
        let refused = enter("third").err();
        assert_eq!(refused, Some(StatusCode::SERVICE_UNAVAILABLE));
        greedy.pop();
        let _third = enter("third").expect("the place that was given back");
        drop(greedy);
        assert_eq!(streams.open().by_client.len(), 2);
    }
}
