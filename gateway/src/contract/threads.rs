//! The threads that serve, and what they serve: a newer version takes the place of the older one on all of them, and what is under way ends
//! on the one that it began with.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use chassis::{metrics::Method as Counts, settings::ConfigErrors, tls::Distrust};
use tokio::sync::watch;
use upstream::Endpoint;

use super::{
    methods::Called,
    own::{Process, Shared},
    pools::Pools,
    routes,
    served::Found,
    table::Table,
    version::Contract,
};
use crate::{documents::Documents, settings::Config};

/// One thread that serves.
#[derive(Debug)]
pub(crate) struct Thread {
    pools: Pools,
    table: ArcSwap<Table>,
}

impl Thread {
    /// The documents of what is served now.
    pub(crate) fn documents(&self) -> Arc<Documents> {
        Arc::clone(&self.table.load().contract.documents)
    }

    /// Whether the shop has what it calls.
    pub(crate) fn has_shop(&self) -> bool {
        self.table.load().contract.has_shop
    }

    /// The methods of all routes.
    pub(crate) fn methods_of_routes(&self) -> BTreeSet<String> {
        self.table.load().methods_of_routes()
    }

    /// The method of gRPC of a path, if anybody has it, and what its calls are counted as.
    pub(crate) fn method(&self, path: &str) -> (Option<Arc<Called>>, Arc<Counts>) {
        self.table.load().methods.find(path)
    }

    /// What a request leads to now. Every request asks for it: it takes no part in counting who has the table.
    pub(crate) fn find(&self, method: &str, path: &str) -> Found {
        self.table.load().find(method, path)
    }
}

/// Services, and their endpoints that cannot be called for a certificate.
pub(crate) type Distrusted = BTreeMap<String, BTreeMap<Endpoint, Distrust>>;

/// All threads that serve one edge, and what they serve.
#[derive(Debug)]
pub(crate) struct Threads {
    current: Mutex<Current>,
    /// The full names of the services that are served now, for those who watch their health.
    services: watch::Sender<BTreeSet<String>>,
    /// How the process is in which they serve, once somebody has said it.
    process: Arc<OnceLock<Process>>,
    /// How many versions of its descriptors a service that is asked for them has at its endpoints.
    versions: AtomicUsize,
}

#[derive(Debug)]
struct Current {
    contract: Arc<Contract>,
    threads: Vec<Weak<Thread>>,
}

impl Threads {
    /// No threads yet.
    pub(crate) fn new(contract: Contract) -> Self {
        let services = watch::Sender::new(contract.services());
        let current = Mutex::new(Current { contract: Arc::new(contract), threads: Vec::new() });
        Self { current, services, process: Arc::default(), versions: AtomicUsize::new(1) }
    }

    /// Has their own health follow that of the process; what is said first holds.
    pub(crate) fn follow(&self, process: Process) {
        let _said_before = self.process.set(process);
    }

    fn shared(&self) -> Shared {
        Shared { services: self.services.subscribe(), process: Arc::clone(&self.process) }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the descriptors of these settings from now on, and returns how many routes they have.
    ///
    /// # Errors
    /// Why they are not served: they have no routes, or there is something wrong with them that is not with those that are served. Then
    /// nothing has changed.
    pub(crate) fn take(&self, config: &Config) -> Result<usize, String> {
        let mut errors = ConfigErrors::default();
        let contract = Contract::of(config, &mut errors);
        let contract = errors.or(contract).map_err(|errors| errors.to_string())?;
        let before = Arc::clone(&self.current().contract);
        let worse = contract.left_out.iter().filter(|part| !before.left_out.contains(part));
        let worse: Vec<String> = worse.cloned().collect();
        if !worse.is_empty() {
            return Err(routes::named(&worse));
        }
        if contract.covered != before.covered {
            contract.warn_of_documents();
        }
        let routes = contract.len();
        self.replace(contract).map(|()| routes).ok_or_else(|| "a service has no connections".to_owned())
    }

    /// Notes how many versions of its descriptors a service has at its endpoints.
    pub(crate) fn note_versions(&self, versions: usize) {
        self.versions.store(versions, Relaxed);
    }

    pub(crate) fn versions(&self) -> usize {
        self.versions.load(Relaxed)
    }

    /// A further thread, with these connections; `None` where they lack those of a service.
    pub(crate) fn join(&self, pools: Pools) -> Option<Arc<Thread>> {
        let mut current = self.current();
        let table = ArcSwap::from_pointee(Table::of(&current.contract, &pools, &self.shared())?);
        let thread = Arc::new(Thread { pools, table });
        current.threads.retain(|thread| thread.strong_count() > 0);
        current.threads.push(Arc::downgrade(&thread));
        Some(thread)
    }

    /// Serves another contract from now on, on all threads. `None` where one lacks the connections of a service; then nothing has changed.
    fn replace(&self, contract: Contract) -> Option<()> {
        let contract = Arc::new(contract);
        let mut current = self.current();
        let threads: Vec<Arc<Thread>> = current.threads.iter().filter_map(Weak::upgrade).collect();
        let shared = self.shared();
        let table = |thread: &Arc<Thread>| Table::of(&contract, &thread.pools, &shared).map(Arc::new);
        let tables: Vec<Arc<Table>> = threads.iter().map(table).collect::<Option<_>>()?;
        // All of them are made by now: between the first thread and the last one there is hardly a moment.
        threads.iter().zip(tables).for_each(|(thread, table)| thread.table.store(table));
        self.services.send_replace(contract.services());
        current.contract = contract;
        Some(())
    }

    /// The services that are called over TLS, and their endpoints that a thread cannot call for the certificate of one side.
    pub(crate) fn distrusted(&self) -> Distrusted {
        let threads: Vec<Arc<Thread>> = self.current().threads.iter().filter_map(Weak::upgrade).collect();
        let mut services = Distrusted::new();
        for (service, upstream) in threads.iter().flat_map(|thread| &thread.pools) {
            for (endpoint, distrust) in upstream.distrusted() {
                let endpoints = services.entry(named(service)).or_default();
                endpoints.extend(distrust.map(|distrust| (endpoint, distrust)));
            }
        }
        services
    }

    /// The endpoints of each service, and whether all threads call them: one without calls does not know that an endpoint has failed.
    pub(crate) fn endpoints(&self) -> BTreeMap<String, BTreeMap<Endpoint, bool>> {
        let threads: Vec<Arc<Thread>> = self.current().threads.iter().filter_map(Weak::upgrade).collect();
        let mut services = BTreeMap::new();
        for (service, upstream) in threads.iter().flat_map(|thread| &thread.pools) {
            let endpoints: &mut BTreeMap<Endpoint, bool> = services.entry(named(service)).or_default();
            for (address, is_in) in upstream.endpoints() {
                *endpoints.entry(address).or_insert(true) &= is_in;
            }
        }
        services
    }
}

/// What a service is called in metrics and in `/readyz`.
fn named(service: &str) -> String {
    if service.is_empty() { "upstream" } else { service }.to_owned()
}
