//! The health of an edge: a service is SERVING as long as one of its endpoints is called, and the edge as long as it is there.

use std::{collections::BTreeSet, time::Duration};

use chassis::{
    health::{ServingStatus, Source, serving},
    status::Fault,
};
use tokio::{sync::watch, time::sleep};

use crate::contract::pools::{Pools, at};

/// How soon who watches learns that the last endpoint of a service has gone, or that one is back.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is served, and by which connections.
#[derive(Debug)]
pub(super) struct Known {
    /// The services that are served now, which later descriptors change: who watches goes on watching.
    pub(super) services: watch::Receiver<BTreeSet<String>>,
    pub(super) pools: Pools,
}

impl Known {
    fn now(&self, service: &str) -> ServingStatus {
        if service.is_empty() {
            return ServingStatus::Serving;
        }
        let is_served = self.services.borrow().contains(service);
        match at(&self.pools, service).filter(|_| is_served) {
            None => ServingStatus::ServiceUnknown,
            Some(upstream) => serving(upstream.endpoints().iter().any(|(_, is_in)| *is_in)),
        }
    }
}

impl Source for Known {
    async fn state(&self, service: &str) -> ServingStatus {
        self.now(service)
    }

    async fn after(&self, service: &str, last: ServingStatus) -> Result<ServingStatus, Fault> {
        let mut services = self.services.clone();
        loop {
            // Before the look: what changes during it is looked at again.
            services.mark_unchanged();
            let now = self.now(service);
            if now != last {
                return Ok(now);
            }
            tokio::select! {
                Ok(()) = services.changed() => {}
                () = sleep(INTERVAL) => {}
            }
        }
    }
}
