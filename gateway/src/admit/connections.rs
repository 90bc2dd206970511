//! Connections of clients: a bound on all of them, and on those of each address.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use chassis::{
    accept::{Permit, Permits},
    peer::network,
};

use super::{
    open_files,
    shares::{Share, Shares},
};
use crate::metrics::{limit, refused};

/// The connections of an edge, on all of its threads.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    /// Where it is set.
    most_of_client: Option<usize>,
    /// What the system allows when this is looked at first.
    allowed: OnceLock<Allowed>,
}

/// Connections, and how many of them an address may have.
#[derive(Debug)]
struct Allowed {
    permits: Permits,
    most: usize,
    shares: Arc<Shares<IpAddr>>,
}

/// A connection that counts, until the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    /// Trusted proxies have none: theirs are the connections of many. It ends before the permit does, for which the next connection waits.
    _share: Option<Arc<Share<IpAddr>>>,
    _permit: Permit,
}

impl Connections {
    /// At most so many in all, and of one address.
    pub(super) const fn new(most: usize, most_of_client: Option<usize>) -> Self {
        Self { most, most_of_client, allowed: OnceLock::new() }
    }

    fn allowed(&self) -> &Allowed {
        self.allowed.get_or_init(|| {
            let all = open_files::connections(self.most);
            // One address alone never takes all, and the many clients of a proxy that nobody has named have most of them.
            let most = self.most_of_client.unwrap_or((all - all / 4).max(1));
            Allowed { permits: Permits::new(all), most, shares: Shares::none() }
        })
    }

    /// Permits for connections of anybody.
    pub(super) fn permits(&self) -> &Permits {
        &self.allowed().permits
    }

    /// A connection of this address, which is a trusted proxy or not; `None` when it has as many as may be.
    pub(super) fn open(&self, peer: IpAddr, is_proxy: bool, permit: Permit) -> Option<Connected> {
        if is_proxy {
            return Some(Connected { _share: None, _permit: permit });
        }
        let Allowed { most, shares, .. } = self.allowed();
        let Some(share) = shares.take(network(peer), |own, _| own < *most) else {
            refused(limit::CONNECTIONS_PER_CLIENT);
            tracing::debug!(client = %peer, most = *most, "a connection is closed: its address has as many as may be (--max-connections-per-client)");
            return None;
        };
        Some(Connected { _share: Some(Arc::new(share)), _permit: permit })
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.allowed.get().map_or(0, |allowed| allowed.permits.open())
    }
}
