//! What is let in: requests of each client in a second, streams, and answers that are not taken.

mod answers;
mod rate;
mod streams;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
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
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    _permit: OwnedSemaphorePermit,
    /// Connections that are open, of all.
    open: Arc<AtomicUsize>,
    /// Whether this is one of them.
    is_open: AtomicBool,
}

impl Slot {
    pub(crate) fn of(permit: OwnedSemaphorePermit, open: &Arc<AtomicUsize>) -> Self {
        let (open, is_open) = (Arc::clone(open), AtomicBool::new(false));
        Self { held: Arc::new(Held { _permit: permit, open, is_open }) }
    }

    /// The place is that of a connection now.
    pub(crate) fn opened(self) -> Self {
        if !self.held.is_open.swap(true, Relaxed) {
            self.held.open.fetch_add(1, Relaxed);
        }
        self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if *self.is_open.get_mut() {
            self.open.fetch_sub(1, Relaxed);
        }
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
