//! The edge, built from its settings: every mistake is found before anything listens.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use chassis::{clock::Clock, settings::Mistakes};
use prost_reflect::DescriptorPool;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{
    body::Room,
    retry::Retries,
    settings::{Config, Settings, Upstreams, url_flag},
    transcode::{
        route::{Entry, Lookup, Trie},
        table::{self, Route},
    },
    upstream,
};

/// An edge that is ready to serve. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Edge(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    trie: Trie,
    routes: Vec<Arc<Served>>,
    retries: Retries,
    /// One for each request that may be worked on.
    slots: Semaphore,
    /// One for each byte that bodies may take together.
    room: Semaphore,
    /// Cancelled when open streams must end, so that connections can.
    stopping: CancellationToken,
}

/// A route and the channel to its service.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) route: Route,
    pub(crate) channel: Channel,
}

/// What a request's path and method lead to.
pub(crate) enum Found {
    Route(Arc<Served>, Vec<Result<String, crate::transcode::PercentError>>),
    OtherMethods(BTreeSet<String>),
    Nothing,
}

impl Edge {
    /// Builds an edge. Connects to nothing yet; must be called inside of a tokio runtime.
    ///
    /// # Errors
    /// Every mistake in the settings, the descriptors, the routes and the URLs.
    pub fn build(settings: Settings) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let config = settings.config(&mut mistakes);
        let edge = Self::assemble(config, &mut mistakes);
        mistakes.or(edge)
    }

    /// The edge's values, when its routes are to be discovered; every other mistake is found now.
    ///
    /// # Errors
    /// Every mistake in the settings and the URL.
    pub fn undiscovered(settings: Settings) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        let config = settings.config(&mut mistakes);
        channels(&config.upstreams, &mut mistakes);
        mistakes.or(Some(config))
    }

    /// Builds an edge from values, as [`Edge::build`] does from flags.
    ///
    /// # Errors
    /// As [`Edge::build`].
    pub fn from_config(config: Config) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let edge = Self::assemble(config, &mut mistakes);
        mistakes.or(edge)
    }

    /// Where it is to be served.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.0.config.listen
    }

    pub(crate) fn lenient(&self) -> bool {
        self.0.config.lenient
    }

    pub(crate) fn room(&self) -> Room<'_> {
        Room { each: self.0.config.max_body_bytes, all: &self.0.room }
    }

    pub(crate) fn max_connections(&self) -> usize {
        self.0.config.max_connections
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        self.0.config.header_timeout
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        self.0.config.idle_timeout
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.0.config.request_timeout
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.config.clock
    }

    pub(crate) fn retries(&self) -> &Retries {
        &self.0.retries
    }

    /// A slot to work on a request, held until it is answered; `None` when all are taken. Waiting for one would only make a queue
    /// of requests whose clients have gone.
    pub(crate) fn slot(&self) -> Option<SemaphorePermit<'_>> {
        self.0.slots.try_acquire().ok()
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Every route, with the host and the port of its service.
    pub(crate) fn listed(&self) -> Vec<(&Route, &str)> {
        let url = |service: &str| match &self.0.config.upstreams {
            Upstreams::One(url) => url.as_str(),
            Upstreams::Each(urls) => urls.get(service).map_or("", String::as_str),
        };
        let authority =
            |route: &Route| url(&route.rpc.service).trim_start_matches("http://").trim_end_matches('/');
        self.0.routes.iter().map(|served| (&served.route, authority(&served.route))).collect()
    }

    pub(crate) fn find(&self, method: &str, path: &str) -> Found {
        match self.0.trie.find(method, path) {
            Lookup::Found(index, captures) => Found::Route(Arc::clone(&self.0.routes[index]), captures),
            Lookup::OtherMethods(methods) => Found::OtherMethods(methods),
            Lookup::Nothing => Found::Nothing,
        }
    }

    fn assemble(config: Config, mistakes: &mut Mistakes) -> Option<Self> {
        let channels = channels(&config.upstreams, mistakes);
        let routes = routes(&config, mistakes)?;
        let trie = trie(&routes, mistakes);
        let mut unknown = BTreeSet::new();
        let mut served = Vec::new();
        for route in routes {
            match channels.get(&route.rpc.service).or_else(|| channels.get(EVERY)) {
                Some(channel) => {
                    served.extend(channel.clone().map(|channel| Arc::new(Served { route, channel })));
                }
                None => drop(unknown.insert(route.rpc.service.clone())),
            }
        }
        for service in unknown {
            mistakes.note(url_flag(&service), format!("no URL is known for {service}"));
        }
        Some(Self(Arc::new(Inner {
            slots: Semaphore::new(config.max_requests.min(Semaphore::MAX_PERMITS)),
            room: Semaphore::new(config.max_buffered_bytes.min(Semaphore::MAX_PERMITS)),
            config,
            trie: trie?,
            routes: served,
            retries: Retries::default(),
            stopping: CancellationToken::new(),
        })))
    }
}

/// The key of the channel for services that have none of their own.
const EVERY: &str = "";

fn routes(config: &Config, mistakes: &mut Mistakes) -> Option<Vec<Route>> {
    let pool = match DescriptorPool::decode(config.descriptor_set.clone()) {
        Ok(pool) => pool,
        Err(error) => {
            mistakes.note("--descriptor-set", format!("not a complete set of descriptors: {error}"));
            return None;
        }
    };
    match table::compile(&pool) {
        Ok(routes) => {
            mistakes.require(!routes.is_empty(), "--descriptor-set", "no method has google.api.http");
            Some(routes)
        }
        Err(errors) => {
            errors.iter().for_each(|error| mistakes.note("--descriptor-set", error));
            None
        }
    }
}

fn trie(routes: &[Route], mistakes: &mut Mistakes) -> Option<Trie> {
    let entry = |route: &Route| Entry {
        method: route.method.clone(),
        template: route.template.clone(),
        rpc: route.rpc.name.clone(),
    };
    let entries: Vec<Entry> = routes.iter().map(entry).collect();
    let clashes = match Trie::build(&entries) {
        Ok(trie) => return Some(trie),
        Err(clashes) => clashes,
    };
    clashes.iter().for_each(|clash| mistakes.note("--descriptor-set", clash));
    None
}

/// The channel of every service, or `None` where its URL is a mistake.
fn channels(upstreams: &Upstreams, mistakes: &mut Mistakes) -> BTreeMap<String, Option<Channel>> {
    let urls = match upstreams {
        Upstreams::One(url) => BTreeMap::from([(EVERY.to_owned(), url.clone())]),
        Upstreams::Each(urls) => urls.clone(),
    };
    let connect = |(service, url): (String, String)| {
        let channel = upstream::channel(&url).map_err(|error| mistakes.note(url_flag(&service), error)).ok();
        (service, channel)
    };
    urls.into_iter().map(connect).collect()
}
