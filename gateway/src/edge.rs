//! The edge, built from its settings: every error is found before anything listens.

mod together;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock, atomic::AtomicUsize},
    time::Duration,
};

use auth::{AuthConfig, Verifier};
use bytes::Bytes;
use chassis::{accept::Permits, clock::Clock, settings::ConfigErrors, status::Fault};
use http::HeaderValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::cors::CorsLayer;
use upstream::Retries;

pub(crate) use self::together::{Shared, overloaded};
use crate::{
    admit::{Budget, Client, Limits, Streams},
    contract::{Contract, Found, Table, Thread, Threads},
    cors,
    metrics::{self, limit},
    open_files, pools, routes,
    settings::{Config, Settings},
};

/// An edge that is ready to serve. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Edge(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    thread: Arc<Thread>,
    /// Connections that have become WebSockets.
    sockets: TaskTracker,
}

impl Edge {
    /// Builds an edge. Must be called inside of a tokio runtime: names of services are looked up from then on, and of several
    /// endpoints it is seen which are there.
    ///
    /// # Errors
    /// Every error in the settings, the descriptors, the routes and the URLs.
    pub fn build(settings: Settings) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let config = settings.config(&mut errors);
        let edge = Self::assemble(config, &mut errors);
        errors.or(edge)
    }

    /// The edge's values, when its routes are to be discovered; every other error is found now.
    ///
    /// # Errors
    /// Every error in the settings and the URL.
    pub fn undiscovered(settings: Settings) -> Result<Config, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let config = settings.config(&mut errors);
        pools::of(&config, &mut errors);
        errors.or(Some(config))
    }

    /// Builds an edge from values, as [`Edge::build`] does from flags.
    ///
    /// # Errors
    /// As [`Edge::build`].
    pub fn from_config(config: Config) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let edge = Self::assemble(config, &mut errors);
        errors.or(edge)
    }

    /// The same edge with connections of its own to the services: they belong to the runtime that this is called in.
    #[must_use]
    pub(crate) fn again(&self) -> Self {
        let shared = Arc::clone(&self.0.shared);
        // There were no errors before.
        let pools = pools::of(&shared.config, &mut ConfigErrors::default());
        let thread = pools.and_then(|pools| shared.threads.join(pools));
        let thread = thread.unwrap_or_else(|| Arc::clone(&self.0.thread));
        Self(Arc::new(Inner { shared, thread, sockets: TaskTracker::new() }))
    }

    /// Where it is to be served.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.0.shared.config.listen
    }

    pub(crate) fn lenient(&self) -> bool {
        self.0.shared.config.lenient
    }

    pub(crate) fn compresses(&self) -> bool {
        self.0.shared.config.compress
    }

    pub(crate) fn max_body_bytes(&self) -> usize {
        self.0.shared.config.max_body_bytes
    }

    /// A client with this address.
    pub(crate) fn client(&self, address: IpAddr) -> Client {
        Client::new(address, &self.0.shared.bodies, &self.0.shared.answers)
    }

    /// Permits for connections, as many as the system allows when this is called first.
    pub(crate) fn permits(&self) -> &Permits {
        let Shared { config, permits, .. } = &*self.0.shared;
        permits.get_or_init(|| Permits::new(open_files::connections(config.max_connections)))
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        self.0.shared.config.header_timeout
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        self.0.shared.config.idle_timeout
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.0.shared.config.request_timeout
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.shared.config.clock
    }

    pub(crate) fn sockets(&self) -> &TaskTracker {
        &self.0.sockets
    }

    /// Whether pages of this origin may read what the edge answers.
    pub(crate) fn allows_origin(&self, origin: &HeaderValue) -> bool {
        cors::allows(&self.0.shared.config.cors_origins, origin)
    }

    /// Who may ask from other origins, if anyone.
    pub(crate) fn cors(&self) -> Option<CorsLayer> {
        self.0.shared.cors.clone()
    }

    /// The bounds on each client, if there are any.
    pub(crate) fn limits(&self) -> Option<Arc<Limits>> {
        self.0.shared.limits.clone()
    }

    /// What can be called now.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.0.thread.table()
    }

    pub(crate) fn retries(&self) -> &Retries {
        &self.0.shared.retries
    }

    /// A slot to work on a request, held until it is answered. Waiting for one would only make a queue of requests whose clients
    /// have gone.
    ///
    /// # Errors
    /// RATE_LIMITED when all are taken.
    pub(crate) fn slot(&self) -> Result<SemaphorePermit<'_>, Fault> {
        self.0.shared.slots.try_acquire().map_err(|_| overloaded(limit::REQUESTS))
    }

    /// The same, for an answer that outlives its request.
    ///
    /// # Errors
    /// RATE_LIMITED when all are taken.
    pub(crate) fn owned_slot(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.0.shared.slots).try_acquire_owned().map_err(|_| overloaded(limit::REQUESTS))
    }

    pub(crate) fn streams(&self) -> &Arc<Streams> {
        &self.0.shared.streams
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.shared.stopping
    }

    /// Who may call, as the settings say it.
    #[must_use]
    pub fn auth(&self) -> &AuthConfig {
        &self.0.shared.config.auth
    }

    /// Whose tokens callers need, if they need any.
    pub(crate) fn issuer(&self) -> Option<&Verifier> {
        self.0.shared.config.issuer.as_ref()
    }

    /// The keys that it publishes.
    pub(crate) fn jwks(&self) -> Option<Bytes> {
        self.0.shared.config.jwks.clone()
    }

    pub(crate) fn find(&self, method: &str, path: &str) -> Found {
        self.0.thread.find(method, path)
    }

    /// What all threads that serve this edge have together.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    fn assemble(config: Config, errors: &mut ConfigErrors) -> Option<Self> {
        let (pools, contract) = (pools::of(&config, errors), Contract::of(&config, errors));
        let cors = cors::layer(&config.cors_origins, errors);
        let (pools, contract) = (pools?, contract?);
        if !contract.left_out.is_empty() {
            let (parts, left_out) = (contract.left_out.len(), routes::named(&contract.left_out));
            tracing::warn!(parts, left_out, "parts of the descriptors cannot be served and are left out");
        }
        let threads = Threads::new(contract);
        let thread = threads.join(pools)?;
        let shared = Arc::new(Shared {
            permits: OnceLock::new(),
            slots: Arc::new(Semaphore::new(config.max_requests.min(Semaphore::MAX_PERMITS))),
            bodies: Budget::new("bodies", config.max_buffered_bytes, config.max_body_bytes),
            answers: Budget::new("answers", config.max_buffered_bytes, 1),
            streams: Streams::new(config.max_streams, config.max_streams_per_client),
            cors,
            limits: config.rate_limit.map(Limits::new),
            config,
            threads,
            described: AtomicUsize::new(1),
            retries: Retries::default(),
            stopping: CancellationToken::new(),
        });
        metrics::begin();
        metrics::watch(&shared);
        Some(Self(Arc::new(Inner { shared, thread, sockets: TaskTracker::new() })))
    }
}
