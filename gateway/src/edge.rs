//! The edge, built from its settings: every error is found before anything listens. Its parts go to whoever needs them.

use std::{collections::BTreeMap, sync::Arc};

use chassis::{readiness::Readiness, settings::ConfigErrors};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::cors::CorsLayer;
use upstream::Retries;

use crate::{
    admit::{Admission, cors},
    contract::{Contract, Process, Thread, Threads, pools},
    metrics,
    settings::{Config, Settings},
};

/// An edge that is ready to serve, on one thread. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Edge {
    pub(crate) config: Arc<Config>,
    pub(crate) admission: Arc<Admission>,
    /// Who may ask from other origins, if anyone.
    pub(crate) cors: Option<CorsLayer>,
    pub(crate) retries: Arc<Retries>,
    /// What is served, on all threads,
    pub(crate) threads: Arc<Threads>,
    /// and on this one.
    pub(crate) thread: Arc<Thread>,
    pub(crate) ending: Ending,
}

/// What ends when the edge stops, and what it waits for then.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// Cancelled when open streams must end, on all threads, so that connections can.
    pub(crate) stopping: CancellationToken,
    /// Connections of this thread that have become WebSockets.
    pub(crate) sockets: TaskTracker,
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

    /// The values of an edge whose descriptors are to be read later; every other error is found now.
    ///
    /// # Errors
    /// Every error in the settings and the URLs.
    pub fn values(settings: Settings) -> Result<Config, ConfigErrors> {
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
        // There were no errors before.
        let pools = pools::of(&self.config, &mut ConfigErrors::default());
        let thread = pools.and_then(|pools| self.threads.join(pools));
        let thread = thread.unwrap_or_else(|| Arc::clone(&self.thread));
        let ending = Ending { sockets: TaskTracker::new(), ..self.ending.clone() };
        Self { thread, ending, ..self.clone() }
    }

    /// Has the health that the edge serves (`grpc.health.v1`) follow that of its process: a service in the same process is as its own readiness by
    /// its full name, and everything else as all of `process`. What is said first holds.
    pub fn follow(&self, process: Vec<Readiness>, services: BTreeMap<String, Readiness>) {
        self.threads.follow(Process { whole: process, services });
    }

    /// The values of its settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn assemble(config: Config, errors: &mut ConfigErrors) -> Option<Self> {
        let (pools, contract) = (pools::of(&config, errors), Contract::of(&config, errors));
        let cors = cors::layer(&config.cors_origins, errors);
        let (pools, contract) = (pools?, contract?);
        let methods = config.method_limits.keys().map(|method| ("--method-limit", method));
        for (flag, method) in
            methods.chain(config.method_streams.keys().map(|method| ("--method-streams", method)))
        {
            errors.require(contract.has(method), flag, format!("there is no method {method}"));
        }
        contract.warn();
        let threads = Arc::new(Threads::new(contract));
        let thread = threads.join(pools)?;
        let admission = Admission::of(&config);
        metrics::begin();
        watch(&admission, &threads);
        let (config, retries, ending) = (Arc::new(config), Arc::default(), Ending::default());
        Some(Self { config, admission, cors, retries, threads, thread, ending })
    }
}

/// Shows what is open as long as there is the edge.
fn watch(admission: &Arc<Admission>, threads: &Arc<Threads>) {
    let (admission, threads) = (Arc::downgrade(admission), Arc::downgrade(threads));
    metrics::watch(move || {
        let (admission, threads) = (admission.upgrade()?, threads.upgrade()?);
        Some(metrics::Open {
            connections: admission.open_connections(),
            requests: admission.open_requests(),
            streams: admission.streams.count(),
            bodies: admission.bodies.taken(),
            answers: admission.answers.taken(),
            endpoints: threads.endpoints(),
            descriptor_versions: threads.versions(),
        })
    });
}
