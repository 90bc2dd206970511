//! Where requests come from.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use super::budget::{Account, Budget};

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(super) network: IpAddr,
    /// What the bodies of its requests take.
    pub(crate) bodies: Arc<Account>,
    /// What its answers take.
    pub(crate) answers: Arc<Account>,
}

impl Client {
    /// Whoever has one address of IPv6 has the other 2^64 of its network as well, and counts as one client.
    pub(crate) fn new(address: IpAddr, bodies: &Arc<Budget>, answers: &Arc<Budget>) -> Self {
        let network = network(address);
        Self { network, bodies: bodies.account(network), answers: answers.account(network) }
    }
}

pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}
