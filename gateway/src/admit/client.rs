//! Where requests come from, and who they count for.

use std::{net::IpAddr, sync::Arc};

use auth::Caller;
use chassis::peer::network;

use super::budget::{Account, Budget};

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// That of the client, which may be behind proxies.
    pub(super) network: IpAddr,
    /// What the bodies of its requests take.
    pub(crate) bodies: Arc<Account>,
    /// What its answers take.
    pub(crate) answers: Arc<Account>,
}

/// Who a request counts for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// The subject of its token, wherever it comes from.
    Subject(Arc<str>),
    /// Nobody is named: the network that it comes from.
    Network(IpAddr),
}

impl Client {
    /// Whoever has one address of IPv6 has the other 2^64 of its network as well, and counts as one client.
    pub(crate) fn new(address: IpAddr, bodies: &Arc<Budget>, answers: &Arc<Budget>) -> Self {
        let network = network(address);
        Self { peer: address, network, bodies: bodies.account(network), answers: answers.account(network) }
    }

    /// Who a request counts for that this caller sends, if it has named one.
    pub(crate) fn who(&self, caller: Option<&Caller>) -> Who {
        caller.map_or(Who::Network(self.network), |caller| Who::Subject(Arc::clone(&caller.subject)))
    }
}

impl Who {
    /// For an error.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Subject(_) => "this subject",
            Self::Network(_) => "this address",
        }
    }
}
