//! The health of an edge and of what it serves: a service is SERVING as long as one of its endpoints is called, and where it is in the same process,
//! as long as it is ready. Before the process stops, nothing is.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
    sync::{Arc, OnceLock},
    time::Duration,
};

use chassis::{
    health::{ServingStatus, Source, serving},
    readiness::Readiness,
    status::Fault,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{sync::watch, time::sleep};

use crate::contract::pools::{Pools, at};

/// How soon who watches learns that the last endpoint of a service has gone, or that one is back.
const INTERVAL: Duration = Duration::from_secs(1);

/// The readiness of the process in which an edge is.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// The edge's, and that of services elsewhere, as far as it is the process's: all of these.
    pub(crate) whole: Vec<Readiness>,
    /// Those of the services in it, by their full names.
    pub(crate) services: BTreeMap<String, Readiness>,
}

/// What is served now, which all threads know alike.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// The full names of services. Later descriptors change them: who watches goes on watching.
    pub(crate) services: watch::Receiver<BTreeSet<String>>,
    /// Empty where nobody has said how the process is: then it is well.
    pub(crate) process: Arc<OnceLock<Process>>,
}

/// What is served now, and by which connections.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) shared: Shared,
    pub(super) pools: Pools,
}

impl Known {
    /// What a service is ready by in this process.
    fn parts(&self, service: &str) -> &[Readiness] {
        let Some(process) = self.shared.process.get() else { return &[] };
        process.services.get(service).map_or(&process.whole[..], slice::from_ref)
    }

    fn now(&self, service: &str) -> ServingStatus {
        let is_edge = service.is_empty();
        if !is_edge && !self.shared.services.borrow().contains(service) {
            return ServingStatus::ServiceUnknown;
        }
        let is_called = || {
            let upstream = at(&self.pools, service);
            upstream.is_some_and(|upstream| upstream.endpoints().iter().any(|(_, is_in)| *is_in))
        };
        let is_ready = self.parts(service).iter().all(|part| part.now().is_ready());
        serving(is_ready && (is_edge || is_called()))
    }
}

impl Source for Known {
    async fn state(&self, service: &str) -> ServingStatus {
        for part in self.parts(service) {
            // After the start the first checks are waited for.
            part.report().await;
        }
        self.now(service)
    }

    async fn after(&self, service: &str, last: ServingStatus) -> Result<ServingStatus, Fault> {
        let mut services = self.shared.services.clone();
        loop {
            // Before the look: what changes during it is looked at again.
            services.mark_unchanged();
            let parts = self.parts(service).iter().map(|part| (part, part.now().is_ready()));
            let mut changes: FuturesUnordered<_> =
                parts.map(|(part, is_ready)| part.changed_from(is_ready)).collect();
            let now = self.now(service);
            if now != last {
                return Ok(now);
            }
            tokio::select! {
                Ok(()) = services.changed() => {}
                Some(()) = changes.next() => {}
                () = sleep(INTERVAL) => {}
            }
        }
    }
}
