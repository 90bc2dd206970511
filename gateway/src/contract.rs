//! What can be called: one version of the descriptors, and what each thread makes of it. A newer version takes the place of the older one on
//! all threads, and what is under way ends on the one that it began with.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use arc_swap::ArcSwap;
use auth::{Rule, Rules};
use bytes::Bytes;
use chassis::settings::ConfigErrors;
use http::HeaderMap;
use transcode::{
    Lookup, PercentError, Route, Routes,
    openapi::{Listed, Tokens},
};
use upstream::{Call, Endpoint, Tried, Upstream};

use crate::{
    docs::Documents,
    grpc::Methods,
    headers, identity,
    metrics::Meter,
    pools::{Pools, pool_of},
    routes,
    settings::{Config, Upstreams, url_flag},
};

/// One version of the descriptors.
#[derive(Debug)]
pub(crate) struct Contract {
    routes: Routes,
    /// Those of all methods of services that have routes, as far as they have one.
    rules: Rules,
    /// Those of the routes, in their order.
    meters: Vec<Arc<Meter>>,
    /// What cannot be served, with the reasons.
    pub(crate) left_out: Vec<String>,
    pub(crate) documents: Documents,
}

impl Contract {
    /// That of the descriptors in the settings; `None` after errors were noted.
    pub(crate) fn of(config: &Config, errors: &mut ConfigErrors) -> Option<Self> {
        let (routes, left_out) = routes::of(config, errors)?;
        let rules = identity::rules(&routes, errors);
        let listed = |route| Listed {
            route,
            authority: config.upstreams.authority(&route.rpc.service),
            scope: rules.get(route.rpc.path.path()).map(|rule| rule.scope.as_str()),
        };
        let listed: Vec<Listed<'_>> = routes.list().iter().map(|route| listed(route)).collect();
        let known = |service: &str| match &config.upstreams {
            Upstreams::One(_) => true,
            Upstreams::Each(locations) => locations.contains_key(service),
        };
        let services = listed.iter().map(|listed| listed.route.rpc.service.as_str());
        let unknown: BTreeSet<&str> = services.filter(|service| !known(service)).collect();
        for service in &unknown {
            errors.note(url_flag(service), format!("no URL is known for {service}"));
        }
        if !unknown.is_empty() {
            return None;
        }
        let tokens = if config.issuer.is_some() { Tokens::Needed } else { Tokens::Optional };
        let documents = Documents::of(&listed, tokens);
        let meter = |route: &Arc<Route>| Meter::new(&route.method, route.template.text.clone());
        let meters = routes.list().iter().map(meter).collect();
        Some(Self { routes, rules, meters, left_out, documents })
    }

    /// How many routes it has.
    pub(crate) fn len(&self) -> usize {
        self.routes.list().len()
    }
}

/// A route and where its service is.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) route: Arc<Route>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) meter: Arc<Meter>,
    /// Who may call it; without a rule, everyone who has a token.
    pub(crate) rule: Option<Rule>,
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

/// A contract with one thread's connections to the services.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) contract: Arc<Contract>,
    served: Vec<Arc<Served>>,
    pub(crate) methods: Methods,
}

impl Table {
    /// `None` where a service has no connections.
    fn of(contract: &Arc<Contract>, pools: &Pools) -> Option<Self> {
        let served = contract.routes.list().iter().zip(&contract.meters).map(|(route, meter)| {
            let (route, upstream, meter) = (Arc::clone(route), pool_of(pools, route)?, Arc::clone(meter));
            let rule = contract.rules.get(route.rpc.path.path()).cloned();
            Some(Arc::new(Served { route, upstream, meter, rule }))
        });
        let served: Vec<Arc<Served>> = served.collect::<Option<_>>()?;
        let methods = Methods::of(&served, &contract.rules);
        Some(Self { contract: Arc::clone(contract), served, methods })
    }

    fn find(&self, method: &str, path: &str) -> Found {
        match self.contract.routes.find(method, path) {
            Lookup::Found(index, captures) => Found::Route(Arc::clone(&self.served[index]), captures),
            Lookup::OtherMethods(methods) => Found::OtherMethods(methods),
            Lookup::Nothing => Found::Nothing,
        }
    }

    /// The methods of all routes.
    pub(crate) fn methods_of_routes(&self) -> BTreeSet<String> {
        self.served.iter().map(|served| served.route.method.clone()).collect()
    }
}

/// One thread that serves.
#[derive(Debug)]
pub(crate) struct Thread {
    pools: Pools,
    table: ArcSwap<Table>,
}

impl Thread {
    /// What is served now.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// What a request leads to now. Every request asks for it: it takes no part in counting who has the table.
    pub(crate) fn find(&self, method: &str, path: &str) -> Found {
        self.table.load().find(method, path)
    }
}

/// All threads that serve one edge, and what they serve.
#[derive(Debug)]
pub(crate) struct Threads(Mutex<Current>);

#[derive(Debug)]
struct Current {
    contract: Arc<Contract>,
    threads: Vec<Weak<Thread>>,
}

impl Threads {
    /// No threads yet.
    pub(crate) fn new(contract: Contract) -> Self {
        Self(Mutex::new(Current { contract: Arc::new(contract), threads: Vec::new() }))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is served now.
    pub(crate) fn contract(&self) -> Arc<Contract> {
        Arc::clone(&self.current().contract)
    }

    /// A further thread, with these connections; `None` where they lack those of a service.
    pub(crate) fn join(&self, pools: Pools) -> Option<Arc<Thread>> {
        let mut current = self.current();
        let table = ArcSwap::from_pointee(Table::of(&current.contract, &pools)?);
        let thread = Arc::new(Thread { pools, table });
        current.threads.retain(|thread| thread.strong_count() > 0);
        current.threads.push(Arc::downgrade(&thread));
        Some(thread)
    }

    /// Serves another contract from now on, on all threads. `None` where one lacks the connections of a service; then nothing has changed.
    pub(crate) fn replace(&self, contract: Contract) -> Option<()> {
        let contract = Arc::new(contract);
        let mut current = self.current();
        let threads: Vec<Arc<Thread>> = current.threads.iter().filter_map(Weak::upgrade).collect();
        let tables = threads.iter().map(|thread| Table::of(&contract, &thread.pools).map(Arc::new));
        let tables: Vec<Arc<Table>> = tables.collect::<Option<_>>()?;
        // All of them are made by now: between the first thread and the last one there is hardly a moment.
        threads.iter().zip(tables).for_each(|(thread, table)| thread.table.store(table));
        current.contract = contract;
        Some(())
    }

    /// The endpoints of each service, and whether any thread calls them.
    pub(crate) fn endpoints(&self) -> BTreeMap<String, BTreeMap<Endpoint, bool>> {
        let threads: Vec<Arc<Thread>> = self.current().threads.iter().filter_map(Weak::upgrade).collect();
        let mut services = BTreeMap::new();
        for (service, upstream) in threads.iter().flat_map(|thread| &thread.pools) {
            let name = if service.is_empty() { "upstream" } else { service };
            let endpoints: &mut BTreeMap<Endpoint, bool> = services.entry(name.to_owned()).or_default();
            for (address, is_in) in upstream.endpoints() {
                *endpoints.entry(address).or_default() |= is_in;
            }
        }
        services
    }
}
