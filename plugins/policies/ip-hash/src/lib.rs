//! A client's reads go to one copy: nginx's `ip_hash`.
//!
//! The first three bytes of an IPv4 address, or all of an IPv6 one, are hashed: clients of one
//! network go to one copy. Where that one is out, the hash goes on from where it is; after twenty
//! more tries copies take turns. Source: nginx, `ngx_http_upstream_get_ip_hash_peer`.

use std::net::IpAddr;

use policy_parts::{Known, Turns};
use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
use projectionist_sdk::{NoConfig, export_routing};

const TRIES: usize = 21;

#[derive(Default)]
pub struct IpHash {
    known: Known,
    turns: Turns,
}

impl Routing for IpHash {
    const NAME: &str = "ip-hash";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "A client's reads go to one copy, as long as it is there.";
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(IpHash::default())
    }

    fn pick(&mut self, request: &Request, eligible: &[Target]) -> Result<TargetId, String> {
        self.known.see(eligible);
        let address = request.client.parse().ok();
        let hashed = self.hashed(address, eligible);
        hashed.map_or_else(|| self.turns.pick(eligible), Ok)
    }
}

impl IpHash {
    fn hashed(&self, address: Option<IpAddr>, eligible: &[Target]) -> Option<TargetId> {
        let mut hash = 89;
        (0..TRIES).find_map(|_| {
            hash = match address {
                Some(IpAddr::V4(address)) => hashed_on(hash, &address.octets()[..3]),
                Some(IpAddr::V6(address)) => hashed_on(hash, &address.octets()),
                // As nginx has it for what is no address.
                None => hashed_on(hash, &[0; 3]),
            };
            let peer = self.known.at(hash)?.id;
            eligible
                .iter()
                .any(|target| target.id == peer)
                .then_some(peer)
        })
    }
}

fn hashed_on(hash: u64, bytes: &[u8]) -> u64 {
    let step = |hash, byte: &u8| (hash * 113 + u64::from(*byte)) % 6_271;
    bytes.iter().fold(hash, step)
}

export_routing!(IpHash);

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::routing;

    use super::*;

    fn pick(policy: &mut IpHash, client: &str, eligible: &[Target]) -> TargetId {
        let request = Request {
            key: Vec::new(),
            client: client.to_owned(),
            tried: Vec::new(),
        };
        policy.pick(&request, eligible).expect("somebody")
    }

    fn three() -> [Target; 3] {
        [0, 1, 2].map(|id| Target::new(id, "", 1))
    }

    fn policy() -> IpHash {
        routing("").expect("no settings")
    }

    /// nginx's own test.
    #[test]
    fn thirty_networks_spread_evenly() {
        let (mut policy, targets) = (policy(), three());
        let mut networks = [0; 3];
        for network in 1..=30 {
            networks[pick(&mut policy, &format!("127.0.{network}.1"), &targets) as usize] += 1;
        }
        assert_eq!(networks, [10, 10, 10]);
    }

    #[test]
    fn clients_of_a_network_go_to_one_copy() {
        let (mut policy, targets) = (policy(), three());
        for network in 0..50 {
            let of = |host| format!("10.7.{network}.{host}");
            let first = pick(&mut policy, &of(1), &targets);
            assert!((2..20).all(|host| pick(&mut policy, &of(host), &targets) == first));
        }
    }

    #[test]
    fn every_byte_of_an_ipv6_address_counts() {
        let (mut policy, targets) = (policy(), three());
        let picks = (0..60).map(|host| pick(&mut policy, &format!("2001:db8::{host:x}"), &targets));
        let mut hosts = [0; 3];
        picks.for_each(|id| hosts[id as usize] += 1);
        assert!(hosts.iter().all(|hosts| *hosts >= 15), "{hosts:?}");
    }

    #[test]
    fn only_the_clients_of_a_copy_that_is_out_go_elsewhere() {
        let (mut policy, targets) = (policy(), three());
        for network in 0..100 {
            let client = format!("10.0.{network}.1");
            let before = pick(&mut policy, &client, &targets);
            let out = pick(&mut policy, &client, &targets[..2]);
            assert!(out != 2 && (before == 2 || before == out));
        }
    }

    #[test]
    fn what_is_no_address_goes_to_one_copy() {
        let (mut policy, targets) = (policy(), three());
        let first = pick(&mut policy, "unix:", &targets);
        assert_eq!(pick(&mut policy, "", &targets), first);
    }
}
