//! What all threads that serve one edge have together.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use chassis::{
    accept::Permits,
    settings::ConfigErrors,
    status::{Fault, Reason},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::cors::CorsLayer;
use upstream::Retries;

use crate::{
    admit::{Budget, Limits, Streams},
    contract::{Contract, Threads},
    metrics, routes,
    settings::Config,
};

/// What all threads that serve one edge have together.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// What is served, and who does.
    pub(crate) threads: Threads,
    /// How many versions of its descriptors a service that is asked for them has at its endpoints.
    pub(super) described: AtomicUsize,
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
}

impl Shared {
    /// Serves other descriptors from now on, and returns how many routes they have. `missing` is what could not be had of them.
    ///
    /// # Errors
    /// Why they are not served: they have no routes, or there is something wrong with them that is not with those that are served. Then nothing
    /// has changed.
    pub(crate) fn replace(&self, descriptor_set: Bytes, missing: Vec<String>) -> Result<usize, String> {
        let config = Config { descriptor_set, foreign: Some(missing), ..self.config.clone() };
        let mut errors = ConfigErrors::default();
        let contract = Contract::of(&config, &mut errors);
        let contract = errors.or(contract).map_err(|errors| errors.to_string())?;
        let before = self.threads.contract();
        let worse = contract.left_out.iter().filter(|part| !before.left_out.contains(part));
        let worse: Vec<String> = worse.cloned().collect();
        if !worse.is_empty() {
            return Err(routes::named(&worse));
        }
        let routes = contract.len();
        self.threads
            .replace(contract)
            .map(|()| routes)
            .ok_or_else(|| "a service has no connections".to_owned())
    }

    /// Notes how many versions of its descriptors a service has at its endpoints.
    pub(crate) fn note_versions(&self, versions: usize) {
        self.described.store(versions, Relaxed);
    }

    pub(crate) fn versions(&self) -> usize {
        self.described.load(Relaxed)
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
