//! What is let in: requests of each client in a second, streams, and answers that are not taken.

mod answers;
mod rate;
mod streams;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use tokio::sync::OwnedSemaphorePermit;

pub(crate) use self::{
    answers::Answers,
    rate::{Limits, limit},
    streams::{Open, Streams},
};

/// A place among the connections, until its last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Slot {
    pub(crate) fn of(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: Arc::new(permit) }
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

impl Client {
    /// What is counted as one client: whoever has one address of IPv6 has the other 2^64 of its network as well.
    fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address => address,
        }
    }
}
