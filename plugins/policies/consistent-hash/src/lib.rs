//! A key's reads go to one copy, and few keys move when a copy comes or goes: ketama, as nginx's
//! `hash … consistent` has it.
//!
//! Each copy has 160 points for each of its weight on a ring of 32 bits: the CRC of its host, a
//! zero byte, its port and the point before. The first point at or after a key's CRC tells the
//! copy; where that one is out, the next points are tried, twenty more at most. Then, or without a
//! key, copies take turns. Source: nginx, `ngx_http_upstream_init_chash` and
//! `ngx_http_upstream_get_chash_peer`.

use crc32fast::Hasher;
use policy_parts::{Known, Turns};
use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
use projectionist_sdk::{NoConfig, export_routing};

const POINTS_PER_WEIGHT: usize = 160;
const TRIES: usize = 21;

/// A ring of more points than a million would take longer to make than a pick may take.
const WEIGHT_MAX: u64 = 6_250;

#[derive(Default)]
pub struct ConsistentHash {
    known: Known,
    ring: Vec<Point>,
    turns: Turns,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    hash: u32,
    target: TargetId,
}

impl Routing for ConsistentHash {
    const NAME: &str = "consistent-hash";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str =
        "A key's reads go to one copy, and few keys move when a copy comes or goes.";
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(ConsistentHash::default())
    }

    fn pick(&mut self, request: &Request, eligible: &[Target]) -> Result<TargetId, String> {
        if self.known.see(eligible) {
            self.ring = ring(self.known.targets())?;
        }
        let hashed = (!request.key.is_empty())
            .then(|| self.hashed(&request.key, eligible))
            .flatten();
        hashed.map_or_else(|| self.turns.pick(eligible), Ok)
    }
}

impl ConsistentHash {
    fn hashed(&self, key: &[u8], eligible: &[Target]) -> Option<TargetId> {
        let hash = crc32fast::hash(key);
        let first = self.ring.partition_point(|point| point.hash < hash);
        (first..first + TRIES).find_map(|place| {
            let point = self.ring.get(place.checked_rem(self.ring.len())?)?;
            let is_eligible = eligible.iter().any(|target| target.id == point.target);
            is_eligible.then_some(point.target)
        })
    }
}

fn ring(targets: &[Target]) -> Result<Vec<Point>, String> {
    let weights: u64 = targets.iter().map(|target| u64::from(target.weight)).sum();
    if weights > WEIGHT_MAX {
        return Err(format!(
            "the weights come to {weights}, and to {WEIGHT_MAX} at most here; make them smaller"
        ));
    }
    let mut ring: Vec<Point> = targets.iter().flat_map(points).collect();
    ring.sort_unstable();
    ring.dedup_by_key(|point| point.hash);
    Ok(ring)
}

fn points(target: &Target) -> impl Iterator<Item = Point> {
    let (host, port) = host_and_port(&target.name);
    let mut base = Hasher::new();
    base.update(host.as_bytes());
    base.update(&[0]);
    base.update(port.as_bytes());
    let (id, count) = (target.id, target.weight as usize * POINTS_PER_WEIGHT);
    let mut before = 0_u32;
    (0..count).map(move |_| {
        let mut hasher = base.clone();
        hasher.update(&before.to_le_bytes());
        before = hasher.finalize();
        Point {
            hash: before,
            target: id,
        }
    })
}

/// As nginx takes a server's name apart: at the last colon, if there are only digits behind it and
/// it is not within an IPv6 address.
fn host_and_port(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (host, port)
        }
        _ => (name, ""),
    }
}

export_routing!(ConsistentHash);

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::routing;

    use super::*;

    fn targets(count: u32) -> Vec<Target> {
        let target = |id| Target::new(id, &format!("10.0.0.{id}:27017"), 1);
        (0..count).map(target).collect()
    }

    fn pick(policy: &mut ConsistentHash, key: usize, eligible: &[Target]) -> TargetId {
        let request = Request {
            key: format!("key-{key}").into(),
            client: String::new(),
            tried: Vec::new(),
        };
        policy.pick(&request, eligible).expect("somebody")
    }

    fn policy() -> ConsistentHash {
        routing("").expect("no settings")
    }

    #[test]
    fn a_copy_more_moves_about_a_fifth_of_the_keys() {
        let (mut four, mut five) = (policy(), policy());
        let (of_four, of_five) = (targets(4), targets(5));
        let mut moved = 0;
        for key in 0..10_000 {
            let (before, after) = (
                pick(&mut four, key, &of_four),
                pick(&mut five, key, &of_five),
            );
            assert!(
                before == after || after == 4,
                "keys move to the new copy only"
            );
            moved += usize::from(before != after);
        }
        assert!((1_700..2_400).contains(&moved), "{moved}");
    }

    #[test]
    fn sixteen_copies_get_nearly_the_same() {
        let (mut policy, targets) = (policy(), targets(16));
        let mut keys = [0; 16];
        for key in 0..64_000 {
            keys[pick(&mut policy, key, &targets) as usize] += 1;
        }
        let most = keys.iter().max().map(|&most| f64::from(most) / 4_000.0);
        assert!(
            most.is_some_and(|most| (1.05..1.3).contains(&most)),
            "{most:?}"
        );
    }

    #[test]
    fn only_the_keys_of_a_copy_that_is_out_go_elsewhere() {
        let (mut policy, targets) = (policy(), targets(4));
        for key in 0..2_000 {
            let before = pick(&mut policy, key, &targets);
            let out = pick(&mut policy, key, &targets[1..]);
            assert!(out != 0 && (before == 0 || before == out));
        }
    }

    #[test]
    fn a_weight_gives_more_keys() {
        let mut targets = targets(2);
        targets[1].weight = 3;
        let mut policy = policy();
        let second = (0..8_000).filter(|&key| pick(&mut policy, key, &targets) == 1);
        let second = second.count();
        assert!((5_400..6_600).contains(&second), "{second}");
    }

    #[test]
    fn names_are_taken_apart_as_nginx_does() {
        assert_eq!(host_and_port("10.0.0.1:80"), ("10.0.0.1", "80"));
        assert_eq!(host_and_port("mongodb-a"), ("mongodb-a", ""));
        assert_eq!(host_and_port("[::1]:80"), ("[::1]", "80"));
        assert_eq!(host_and_port("[fe80::a]"), ("[fe80::a]", ""));
    }

    #[test]
    fn weights_that_would_make_too_large_a_ring_are_refused() {
        let targets = [Target::new(1, "a", 10_000)];
        let request = Request {
            key: b"k".to_vec(),
            client: String::new(),
            tried: Vec::new(),
        };
        let reason = "the weights come to 10000, and to 6250 at most here; make them smaller";
        assert_eq!(policy().pick(&request, &targets), Err(reason.to_owned()));
    }
}
