//! What is let in, on all threads of an edge.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use chassis::{
    accept::Permits,
    status::{Fault, Reason},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::{budget::Budget, client::Client, open_files, rate::Limits, streams::Streams};
use crate::{
    metrics::{limit, refused},
    settings::Config,
};

/// What is let in, on all threads of an edge.
#[derive(Debug)]
pub(crate) struct Admission {
    max_connections: usize,
    permits: OnceLock<Permits>,
    max_requests: usize,
    /// One for each request that may be open.
    slots: Arc<Semaphore>,
    pub(crate) streams: Arc<Streams>,
    /// What bodies of requests take.
    pub(crate) bodies: Arc<Budget>,
    /// What answers take that their clients have not taken.
    pub(crate) answers: Arc<Budget>,
    /// The bounds on each client, if there are any.
    pub(crate) limits: Option<Arc<Limits>>,
}

impl Admission {
    /// Within the bounds of the settings. Must be called inside of a tokio runtime.
    pub(crate) fn of(config: &Config) -> Arc<Self> {
        let max_requests = config.max_requests.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            max_connections: config.max_connections,
            permits: OnceLock::new(),
            max_requests,
            slots: Arc::new(Semaphore::new(max_requests)),
            streams: Streams::new(config.max_streams, config.max_streams_per_client),
            bodies: Budget::new("bodies", config.max_buffered_bytes, config.max_body_bytes),
            answers: Budget::new("answers", config.max_buffered_bytes, 1),
            limits: config.rate_limit.map(Limits::new),
        })
    }

    /// A client with this address.
    pub(crate) fn client(&self, address: IpAddr) -> Client {
        Client::new(address, &self.bodies, &self.answers)
    }

    /// Permits for connections, as many as the system allows when this is called first.
    pub(crate) fn permits(&self) -> &Permits {
        self.permits.get_or_init(|| Permits::new(open_files::connections(self.max_connections)))
    }

    /// A slot to work on a request, held until it is answered. Waiting for one would only make a queue of requests whose clients
    /// have gone.
    ///
    /// # Errors
    /// RATE_LIMITED when all are taken.
    pub(crate) fn slot(&self) -> Result<SemaphorePermit<'_>, Fault> {
        self.slots.try_acquire().map_err(|_| overloaded())
    }

    /// The same, for an answer that outlives its request.
    ///
    /// # Errors
    /// RATE_LIMITED when all are taken.
    pub(crate) fn owned_slot(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| overloaded())
    }

    /// Connections of clients.
    pub(crate) fn open_connections(&self) -> usize {
        self.permits.get().map_or(0, Permits::open)
    }

    /// Requests that are being worked on.
    pub(crate) fn open_requests(&self) -> usize {
        self.max_requests.saturating_sub(self.slots.available_permits())
    }
}

/// The edge has more to do than it can.
fn overloaded() -> Fault {
    refused(limit::REQUESTS);
    Fault::new(Reason::RateLimited, "the edge has more requests than it can work on")
}
