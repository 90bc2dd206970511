//! What all threads that serve one edge have together.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use chassis::{
    accept::Permits,
    status::{Fault, Reason},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::cors::CorsLayer;
use transcode::Routes;
use upstream::{Endpoint, Retries, Upstream};

use crate::{
    admit::{Budget, Limits, Streams},
    metrics,
    pools::Pools,
    settings::Config,
};

/// What all threads that serve one edge have together.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) config: Config,
    pub(super) routes: Routes,
    pub(super) retries: Retries,
    pub(super) permits: OnceLock<Permits>,
    /// One for each request that may be open.
    pub(super) slots: Arc<Semaphore>,
    pub(super) streams: Arc<Streams>,
    /// What bodies of requests take.
    pub(super) bodies: Arc<Budget>,
    /// What answers take that their clients have not taken.
    pub(super) answers: Arc<Budget>,
    pub(super) cors: Option<CorsLayer>,
    pub(super) limits: Option<Arc<Limits>>,
    /// Cancelled when open streams must end, so that connections can.
    pub(super) stopping: CancellationToken,
    /// The endpoints of each service, as each thread knows them.
    pub(super) pools: Mutex<BTreeMap<String, Vec<Weak<Upstream>>>>,
}

impl Shared {
    /// Notes the endpoints of a thread.
    pub(super) fn note(&self, pools: &Pools) {
        let mut noted = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        for (service, pool) in pools {
            let noted = noted.entry(service.clone()).or_default();
            noted.retain(|pool| pool.strong_count() > 0);
            noted.extend(pool.as_ref().map(Arc::downgrade));
        }
    }

    /// The endpoints of each service, and whether any thread calls them.
    pub(crate) fn endpoints(&self) -> BTreeMap<String, BTreeMap<Endpoint, bool>> {
        let noted = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let mut services = BTreeMap::new();
        for (service, pools) in noted.iter() {
            let name = if service.is_empty() { "upstream".to_owned() } else { service.clone() };
            let endpoints: &mut BTreeMap<Endpoint, bool> = services.entry(name).or_default();
            for (address, is_in) in pools.iter().filter_map(Weak::upgrade).flat_map(|pool| pool.endpoints()) {
                *endpoints.entry(address).or_default() |= is_in;
            }
        }
        services
    }

    /// Connections of clients.
    pub(crate) fn open_connections(&self) -> usize {
        self.permits.get().map_or(0, Permits::open)
    }

    /// Requests that are being worked on.
    pub(crate) fn open_requests(&self) -> usize {
        let most = self.config.max_requests.min(Semaphore::MAX_PERMITS);
        most.saturating_sub(self.slots.available_permits())
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.streams.count()
    }

    /// What bodies take, and what answers do.
    pub(crate) fn buffered_bytes(&self) -> [(&'static str, usize); 2] {
        [("request", self.bodies.taken()), ("response", self.answers.taken())]
    }
}

/// The edge has more to do than it can, by this limit.
pub(crate) fn overloaded(limit: &'static str) -> Fault {
    metrics::refused(limit);
    Fault::new(Reason::RateLimited, "the edge has more requests than it can work on")
}
