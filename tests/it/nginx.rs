//! The shipped policies beside a real nginx: the same requests, the same picks.

use std::sync::Arc;

use projectionist::plugin::{Engine, Kind, Policy, Routing};
use projectionist::policy::{Request, RoutingPolicy, Source as _, Target, TargetId};
use projectionist_tests::guests::guest;
use projectionist_tests::nginx::{Ask, Held, Nginx, Upstream};
use serde_json::json;

fn upstreams(weights: &[u32]) -> Vec<Upstream> {
    let upstream = |weight: &u32| Upstream {
        weight: *weight,
        is_down: false,
    };
    weights.iter().map(upstream).collect()
}

/// A shipped policy, beside the nginx that it is compared with.
struct Pair {
    nginx: Nginx,
    policy: Box<dyn RoutingPolicy>,
    targets: Vec<Target>,
}

impl Pair {
    fn start(directive: &str, file: &str, upstreams: &[Upstream]) -> Self {
        let nginx = Nginx::start(directive, upstreams).expect("nginx");
        let engine = Arc::new(Engine::new().expect("this machine runs Wasm"));
        let policy = Policy::load(&engine, file, &guest(file), Kind::Routing);
        let policy = policy.expect("its file is in order");
        let source = Routing::new(policy, "nginx", &json!({})).expect("the defaults");
        let names = nginx.names();
        let target = |((id, name), upstream): ((u32, &String), &Upstream)| {
            Target::new(TargetId(id), name, upstream.weight)
        };
        let targets = (0..).zip(&names).zip(upstreams).map(target).collect();
        Pair {
            policy: source.start().expect("it starts"),
            targets,
            nginx,
        }
    }

    fn pick(&mut self, ask: Ask<'_>, is_eligible: impl Fn(usize) -> bool) -> usize {
        let request = Request {
            key: ask.key.as_bytes(),
            client: ask.client,
            tried: &[],
        };
        let places = self.targets.iter().enumerate();
        let eligible = places.filter(|(place, _)| is_eligible(*place));
        let eligible: Vec<Target> = eligible.map(|(_, target)| target.clone()).collect();
        let picked = self.policy.pick(&request, &eligible).expect("a pick");
        let place = self.targets.iter().position(|target| target.id == picked);
        place.expect("one of the targets")
    }

    fn compare(&mut self, ask: Ask<'_>) {
        let picked = self.pick(ask, |_| true);
        assert_eq!(picked, self.nginx.ask(ask).expect("an answer"), "{ask:?}");
    }
}

#[test]
fn round_robin_takes_turns_as_nginx_does() {
    for weights in [&[1, 1, 1][..], &[5, 1, 1], &[1, 2, 3], &[7, 3, 4, 1]] {
        let mut pair = Pair::start("", "round_robin", &upstreams(weights));
        for _ in 0..60 {
            pair.compare(Ask::default());
        }
    }
}

#[test]
fn hash_sends_a_key_where_nginx_does() {
    for weights in [&[1, 1, 1][..], &[1, 2, 3, 1]] {
        let mut pair = Pair::start("hash $http_x_key;", "hash", &upstreams(weights));
        for number in 0..200 {
            let key = format!("order-{number}");
            pair.compare(Ask {
                key: &key,
                ..Ask::default()
            });
        }
        // Without a key they take turns.
        for _ in 0..20 {
            pair.compare(Ask::default());
        }
    }
}

#[test]
fn consistent_hash_sends_a_key_where_nginx_does() {
    for weights in [&[1, 1, 1, 1, 1][..], &[1, 2, 3]] {
        let directive = "hash $http_x_key consistent;";
        let mut pair = Pair::start(directive, "consistent_hash", &upstreams(weights));
        for number in 0..300 {
            let key = format!("aircraft-{number}");
            pair.compare(Ask {
                key: &key,
                ..Ask::default()
            });
        }
    }
}

#[test]
fn ip_hash_sends_a_client_where_nginx_does() {
    for weights in [&[1, 1, 1][..], &[2, 1, 4]] {
        let mut pair = Pair::start("ip_hash;", "ip_hash", &upstreams(weights));
        for number in 0..150_u32 {
            let (high, low) = (number % 7, number * 31 % 256);
            for client in [
                format!("10.{high}.{low}.{number}"),
                format!("2001:db8:{high:x}::{low:x}:{number:x}"),
            ] {
                pair.compare(Ask {
                    client: &client,
                    ..Ask::default()
                });
            }
        }
    }
}

#[test]
fn where_a_server_is_out_hashes_go_on_as_nginx_does() {
    let cases = [
        ("hash $http_x_key;", "hash"),
        ("hash $http_x_key consistent;", "consistent_hash"),
        ("ip_hash;", "ip_hash"),
    ];
    for (directive, file) in cases {
        let mut upstreams = upstreams(&[2, 1, 1, 3]);
        upstreams[1].is_down = true;
        let mut pair = Pair::start(directive, file, &upstreams);
        // The policy has seen all of them before one is ejected.
        pair.pick(Ask::default(), |_| true);
        for number in 0..200 {
            let (key, client) = (format!("key-{number}"), format!("10.9.{number}.1"));
            let ask = Ask {
                key: &key,
                client: &client,
            };
            let picked = pair.pick(ask, |place| place != 1);
            assert_eq!(
                picked,
                pair.nginx.ask(ask).expect("an answer"),
                "{file}: {ask:?}"
            );
        }
    }
}

/// Requests that come and go in an order that looks random, many under way at once.
#[test]
fn least_connections_counts_as_nginx_does() {
    for weights in [&[1, 1, 1][..], &[1, 2, 3]] {
        let mut pair = Pair::start("least_conn;", "least_connections", &upstreams(weights));
        let mut held: Vec<Held> = Vec::new();
        let mut number = 12_345_u64;
        for step in 0..150 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695);
            let dice = usize::try_from(number >> 40).expect("24 bits");
            if held.len() > 12 || !held.is_empty() && dice.is_multiple_of(3) {
                let done = held.swap_remove(dice / 3 % held.len());
                pair.targets[done.server].in_flight -= 1;
                pair.nginx.release(done).expect("an answer");
            } else {
                let picked = pair.pick(Ask::default(), |_| true);
                let taken = pair.nginx.hold(Ask::default()).expect("a server has it");
                assert_eq!(picked, taken.server, "step {step} of {weights:?}");
                pair.targets[picked].in_flight += 1;
                held.push(taken);
            }
        }
        for held in held {
            pair.nginx.release(held).expect("an answer");
        }
    }
}
