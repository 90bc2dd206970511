//! The edge, built from its settings: every error is found before anything listens.

mod together;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use chassis::{accept::Permits, clock::Clock, settings::ConfigErrors, status::Fault};
use http::{HeaderMap, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::cors::CorsLayer;
use transcode::{Lookup, PercentError, Route};
use upstream::{Call, Retries, Tried, Upstream};

pub(crate) use self::together::{Shared, overloaded};
use crate::{
    admit::{Budget, Client, Limits, Streams},
    cors,
    grpc::Methods,
    headers,
    metrics::{self, Meter, limit},
    open_files,
    pools::{self, pool_of},
    routes,
    settings::{Config, Settings, url_flag},
};

/// An edge that is ready to serve. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Edge(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    routes: Vec<Arc<Served>>,
    methods: Methods,
    /// Connections that have become WebSockets.
    sockets: TaskTracker,
}

/// A route and where its service is.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) route: Arc<Route>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) meter: Arc<Meter>,
}

impl Served {
    /// A call of its method without a message yet, for a client with these headers.
    pub(crate) fn call<'a>(&'a self, tried: &'a Tried, headers: &'a HeaderMap) -> Call<'a> {
        let rpc = &self.route.rpc;
        Call {
            upstream: &self.upstream,
            tried,
            path: &rpc.path,
            streams: rpc.streaming || rpc.client_streaming,
            wire: Bytes::new(),
            headers,
            metadata: headers::metadata,
            deadline: None,
        }
    }
}

/// What a request's path and method lead to.
pub(crate) enum Found {
    Route(Arc<Served>, Vec<Result<String, PercentError>>),
    OtherMethods(BTreeSet<String>),
    Nothing,
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
        // The URLs were read before: nothing is wrong with them.
        let pools = pools::of(&shared.config, &mut ConfigErrors::default());
        let again = |served: &Arc<Served>| match pool_of(&pools, &served.route) {
            Some(Some(upstream)) => {
                let (route, meter) = (Arc::clone(&served.route), Arc::clone(&served.meter));
                Arc::new(Served { route, upstream, meter })
            }
            _ => Arc::clone(served),
        };
        shared.note(&pools);
        let routes: Vec<Arc<Served>> = self.0.routes.iter().map(again).collect();
        Self::of(shared, routes)
    }

    fn of(shared: Arc<Shared>, routes: Vec<Arc<Served>>) -> Self {
        let (methods, sockets) = (Methods::of(&routes), TaskTracker::new());
        Self(Arc::new(Inner { shared, routes, methods, sockets }))
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

    pub(crate) fn methods(&self) -> &Methods {
        &self.0.methods
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

    /// Every route, with the host and the port of its service.
    pub(crate) fn listed(&self) -> Vec<(&Route, &str)> {
        let authority = |route: &Route| self.0.shared.config.upstreams.authority(&route.rpc.service);
        self.0.routes.iter().map(|served| (&*served.route, authority(&served.route))).collect()
    }

    /// The methods of all routes.
    pub(crate) fn methods_of_routes(&self) -> BTreeSet<String> {
        self.0.routes.iter().map(|served| served.route.method.clone()).collect()
    }

    pub(crate) fn find(&self, method: &str, path: &str) -> Found {
        match self.0.shared.routes.find(method, path) {
            Lookup::Found(index, captures) => Found::Route(Arc::clone(&self.0.routes[index]), captures),
            Lookup::OtherMethods(methods) => Found::OtherMethods(methods),
            Lookup::Nothing => Found::Nothing,
        }
    }

    fn assemble(config: Config, errors: &mut ConfigErrors) -> Option<Self> {
        let pools = pools::of(&config, errors);
        let routes = routes::of(&config, errors)?;
        let mut unknown = BTreeSet::new();
        let mut served = Vec::new();
        for route in routes.list() {
            match pool_of(&pools, route) {
                Some(pool) => {
                    let meter = Meter::new(&route.method, route.template.text.clone());
                    served.extend(
                        pool.map(|upstream| Arc::new(Served { route: Arc::clone(route), upstream, meter })),
                    );
                }
                None => drop(unknown.insert(route.rpc.service.clone())),
            }
        }
        for service in unknown {
            errors.note(url_flag(&service), format!("no URL is known for {service}"));
        }
        let shared = Shared {
            permits: OnceLock::new(),
            slots: Arc::new(Semaphore::new(config.max_requests.min(Semaphore::MAX_PERMITS))),
            bodies: Budget::new("bodies", config.max_buffered_bytes, config.max_body_bytes),
            answers: Budget::new("answers", config.max_buffered_bytes, 1),
            streams: Streams::new(config.max_streams, config.max_streams_per_client),
            cors: cors::layer(&config.cors_origins, errors),
            limits: config.rate_limit.map(Limits::new),
            config,
            routes,
            retries: Retries::default(),
            stopping: CancellationToken::new(),
            pools: Mutex::default(),
        };
        shared.note(&pools);
        let shared = Arc::new(shared);
        metrics::begin();
        metrics::watch(&shared);
        Some(Self::of(shared, served))
    }
}
