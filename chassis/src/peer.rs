//! Who is at the other end of a connection.

use std::net::{IpAddr, Ipv6Addr};

/// The address at the other end of the connection that a request came on, among the extensions of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// What counts as one client: whoever has one address of IPv6 has the other 2^64 of its network as well.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}
