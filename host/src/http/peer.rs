//! The other end of a connection.
//!
//! Whoever has an IPv6 address has all of its /64 (RFC 6177), so what is counted by address is
//! counted by [`Network`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The address of the other end of a connection, which may be a proxy.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) text: Arc<str>,
}

/// Addresses that count as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Network {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl Peer {
    pub(crate) fn new(address: IpAddr) -> Self {
        // An IPv4 address that has come to a socket of IPv6 is still one.
        let address = address.to_canonical();
        Peer {
            address,
            text: address.to_string().into(),
        }
    }

    pub(crate) fn network(&self) -> Network {
        match self.address {
            IpAddr::V4(address) => Network::V4(address),
            IpAddr::V6(address) => Network::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Network::V4(address) => address.fmt(f),
            Network::V6(bits) => {
                let address = std::net::Ipv6Addr::from_bits(u128::from(*bits) << 64);
                write!(f, "{address}/64")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_client_are_one_network() {
        let network = |text: &str| Peer::new(text.parse().expect("an address")).network();
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1:2:3"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(network("192.0.2.1").to_string(), "192.0.2.1");
    }
}
