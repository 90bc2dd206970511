//! The health of the services of one listener: each is SERVING as long as the process is ready.

use std::{collections::BTreeSet, future::pending};

use chassis::{
    health::{ServingStatus, Source, serving},
    readiness::Readiness,
    status::{Fault, Reason},
};
use tokio_util::sync::CancellationToken;

/// What a listener serves, until it stops.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) services: BTreeSet<String>,
    pub(super) readiness: Readiness,
    pub(super) stop: CancellationToken,
}

impl Served {
    /// The empty name is the process's.
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(service)
    }
}

impl Source for Served {
    async fn state(&self, service: &str) -> ServingStatus {
        match self.knows(service) {
            true => serving(self.readiness.report().await.is_ready()),
            false => ServingStatus::ServiceUnknown,
        }
    }

    async fn after(&self, service: &str, last: ServingStatus) -> Result<ServingStatus, Fault> {
        let changed = async {
            match self.knows(service) {
                true => self.readiness.changed_from(last == ServingStatus::Serving).await,
                // Services do not come later.
                false => pending().await,
            }
        };
        tokio::select! {
            // A watch that began in the last moment learns of the stop, too.
            biased;
            () = changed => Ok(serving(self.readiness.now().is_ready())),
            () = self.stop.cancelled() => {
                Err(Fault::new(Reason::UpstreamUnavailable, "the service stops: watch another one"))
            }
        }
    }
}
