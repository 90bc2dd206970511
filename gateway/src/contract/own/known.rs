//! The health of an edge: a service is SERVING as long as one of its endpoints is called, and the edge as long as it is there.

use std::{collections::BTreeSet, time::Duration};

use chassis::{
    health::{ServingStatus, Source, serving},
    status::Fault,
};
use tokio::time::sleep;

use crate::contract::pools::{Pools, at};

/// How soon who watches learns of a change.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is served, and by which connections.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) services: BTreeSet<String>,
    pub(super) pools: Pools,
}

impl Known {
    fn now(&self, service: &str) -> ServingStatus {
        if service.is_empty() {
            return ServingStatus::Serving;
        }
        match at(&self.pools, service).filter(|_| self.services.contains(service)) {
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
        loop {
            let now = self.now(service);
            if now != last {
                return Ok(now);
            }
            sleep(INTERVAL).await;
        }
    }
}
