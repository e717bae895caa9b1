//! A key's reads go to one copy: nginx's `hash`.
//!
//! The sum of `(crc32(key) >> 16) & 0x7fff`, modulo all weights, tells the copy. Where that one is
//! out, the next try hashes the key with the try's number in front; after twenty more tries, or
//! without a key, copies take turns. Source: nginx, `ngx_http_upstream_get_hash_peer`.
//!
//! One copy more or less moves most keys; with `consistent-hash` few move. The keys of a copy that
//! is out need not spread evenly over the others: a CRC is linear, so the hash of a try depends on
//! the one before.

use crc32fast::Hasher;
use policy_parts::{Known, Turns};
use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
use projectionist_sdk::{NoConfig, export_routing};

const TRIES: u32 = 21;

#[derive(Default)]
pub struct Hash {
    known: Known,
    turns: Turns,
}

impl Routing for Hash {
    const NAME: &str = "hash";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "A key's reads go to one copy, as long as it is there.";
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Hash::default())
    }

    fn pick(&mut self, request: &Request, eligible: &[Target]) -> Result<TargetId, String> {
        self.known.see(eligible);
        let hashed = (!request.key.is_empty())
            .then(|| self.hashed(&request.key, eligible))
            .flatten();
        hashed.map_or_else(|| self.turns.pick(eligible), Ok)
    }
}

impl Hash {
    fn hashed(&self, key: &[u8], eligible: &[Target]) -> Option<TargetId> {
        let mut sum = 0;
        (0..TRIES).find_map(|tries| {
            sum += u64::from(hash(key, tries));
            let peer = self.known.at(sum)?.id;
            eligible
                .iter()
                .any(|target| target.id == peer)
                .then_some(peer)
        })
    }
}

fn hash(key: &[u8], tries: u32) -> u32 {
    let mut hasher = Hasher::new();
    if tries > 0 {
        hasher.update(tries.to_string().as_bytes());
    }
    hasher.update(key);
    (hasher.finalize() >> 16) & 0x7fff
}

export_routing!(Hash);

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::routing;

    use super::*;

    fn targets(weights: &[u32]) -> Vec<Target> {
        let target = |(id, weight): (u32, &u32)| Target::new(id, "", *weight);
        (0..).zip(weights).map(target).collect()
    }

    fn policy() -> Hash {
        routing("").expect("no settings")
    }

    fn pick(policy: &mut Hash, key: usize, eligible: &[Target]) -> TargetId {
        let request = Request {
            key: format!("key-{key}").into(),
            client: String::new(),
            tried: Vec::new(),
        };
        policy.pick(&request, eligible).expect("somebody")
    }

    /// crc32("123456789") = 0xcbf43926 is the check value of the polynomial.
    #[test]
    fn a_hash_is_fifteen_bits_of_the_crc() {
        assert_eq!(hash(b"123456789", 0), 0xcbf4 & 0x7fff);
        assert_eq!(hash(b"23456789", 1), 0xcbf4 & 0x7fff);
    }

    #[test]
    fn keys_spread_by_weight_and_stay() {
        let targets = targets(&[1, 2, 1]);
        let mut policy = policy();
        let mut keys = [0; 3];
        for key in 0..8_000 {
            let id = pick(&mut policy, key, &targets);
            assert_eq!(pick(&mut policy, key, &targets), id);
            keys[id as usize] += 1;
        }
        for (keys, expected) in keys.into_iter().zip([2_000_i32, 4_000, 2_000]) {
            assert!((keys - expected).abs() < 300, "{keys} of {expected}");
        }
    }

    /// balancing: plain hash moves four fifths of the keys where four copies become five.
    #[test]
    fn a_copy_more_moves_most_keys() {
        let (four, five) = (targets(&[1; 4]), targets(&[1; 5]));
        let moved = (0..10_000)
            .filter(|&key| pick(&mut policy(), key, &four) != pick(&mut policy(), key, &five));
        let moved = moved.count();
        assert!((7_800..8_200).contains(&moved), "{moved}");
    }

    #[test]
    fn only_the_keys_of_a_copy_that_is_out_go_elsewhere() {
        let targets = targets(&[1, 1, 1, 1]);
        let mut policy = policy();
        let mut elsewhere = [0; 4];
        for key in 0..4_000 {
            let before = pick(&mut policy, key, &targets);
            let out = pick(&mut policy, key, &targets[1..]);
            if before == 0 {
                elsewhere[out as usize] += 1;
            } else {
                assert_eq!(before, out);
            }
        }
        assert_eq!(elsewhere[0], 0);
        let moved: u32 = elsewhere.iter().sum();
        assert!((900..1_100).contains(&moved), "{elsewhere:?}");
    }

    #[test]
    fn without_a_key_copies_take_turns() {
        let mut policy = policy();
        let request = Request {
            key: Vec::new(),
            client: String::new(),
            tried: Vec::new(),
        };
        let turns = [(); 4].map(|()| policy.pick(&request, &targets(&[1, 1])));
        assert_eq!(turns, [Ok(0), Ok(1), Ok(0), Ok(1)]);
    }
}
