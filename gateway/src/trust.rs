//! Whether services believe this edge and it believes them, where they are called over TLS: parts of readiness, and what the log says of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use chassis::{
    readiness::{Part, State},
    tls::Distrust,
};
use upstream::Endpoint;

use crate::{
    contract::{Distrusted, Threads},
    edge::Edge,
};

/// What is known of certificates between an edge and its services. Cloning it shares it.
#[derive(Debug, Clone, Default)]
pub struct Trust(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Known once there is an edge.
    threads: OnceLock<Arc<Threads>>,
    /// What the log has said.
    said: Mutex<Distrusted>,
}

impl Trust {
    /// A part for each service that is called over TLS. It is degraded while a certificate is why one of its endpoints cannot be called: other
    /// endpoints may be, and no other edge could do anything about it.
    #[must_use]
    pub fn part(&self) -> Part {
        let this = self.clone();
        Part::group("certificates", move || this.states()).behind()
    }

    /// Looks at the connections of this edge from now on; the first one counts.
    pub fn follow(&self, edge: &Edge) {
        let _followed_before = self.0.threads.set(Arc::clone(&edge.threads));
    }

    fn states(&self) -> Vec<(String, State)> {
        let Some(threads) = self.0.threads.get() else { return Vec::new() };
        // Behind the lock: what was seen later is said later, so that nothing is said twice.
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        let found = threads.distrusted();
        say(&mut said, &found);
        drop(said);
        found.iter().map(|(service, endpoints)| (service.clone(), state(endpoints))).collect()
    }
}

/// Each change is logged once, however many threads and calls meet it.
fn say(said: &mut Distrusted, found: &Distrusted) {
    for (service, endpoints) in found {
        for (endpoint, distrust) in endpoints {
            if said.get(service).and_then(|said| said.get(endpoint)) != Some(distrust) {
                let reason = distrust.name();
                tracing::error!(service, %endpoint, reason, "an endpoint cannot be called: {distrust}");
            }
        }
    }
    for (service, endpoints) in &*said {
        let still =
            |endpoint: &Endpoint| found.get(service).is_some_and(|found| found.contains_key(endpoint));
        for endpoint in endpoints.keys().filter(|endpoint| !still(endpoint)) {
            tracing::info!(service, %endpoint, "an endpoint is not kept from being called by certificates any more, or has gone");
        }
    }
    said.clone_from(found);
}

fn state(endpoints: &BTreeMap<Endpoint, Distrust>) -> State {
    if endpoints.is_empty() {
        return State::Ok;
    }
    let each: Vec<String> =
        endpoints.iter().map(|(endpoint, distrust)| format!("{endpoint}: {distrust}")).collect();
    State::Degraded(each.join("; "))
}
