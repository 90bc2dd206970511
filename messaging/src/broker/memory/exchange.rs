//! What is bound to what.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::watch;

use super::queue::{Hold, Queue};
use crate::{
    envelope::Envelope,
    topology::{Subscription, Topology},
};

/// The queues and what is bound to them.
pub(super) struct Exchange {
    topology: Topology,
    routes: RwLock<Routes>,
    /// The end of each hold of a queue.
    resumed: watch::Sender<()>,
}

#[derive(Default)]
struct Routes {
    queues: HashMap<String, Arc<Queue>>,
    by_routing_key: HashMap<String, Vec<Arc<Queue>>>,
}

impl Exchange {
    /// An exchange with the queues of the consumers that must exist.
    pub(super) fn new(topology: Topology) -> Self {
        let exchange = Self { topology, routes: RwLock::default(), resumed: watch::Sender::new(()) };
        for subscription in &exchange.topology.consumers {
            for partition in 0..exchange.topology.partitions.max(1) {
                exchange.declare(subscription, partition);
            }
        }
        exchange
    }

    pub(super) const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The queue of one partition of a consumer, bound to the subscription's kinds as well as to those of earlier calls.
    pub(super) fn declare(&self, subscription: &Subscription, partition: u16) -> Arc<Queue> {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let name = self.topology.queue(&subscription.consumer, partition);
        let queue = Arc::clone(routes.queues.entry(name).or_default());
        for routing_key in self.topology.bindings(subscription, partition) {
            let bound = routes.by_routing_key.entry(routing_key).or_default();
            if !bound.iter().any(|other| Arc::ptr_eq(other, &queue)) {
                bound.push(Arc::clone(&queue));
            }
        }
        queue
    }

    /// Holds the queue of one partition of a consumer.
    pub(super) fn hold(&self, subscription: &Subscription, partition: u16) -> Hold {
        self.declare(subscription, partition).hold(self.resumed.clone())
    }

    /// Where the end of each hold is seen, and at first that there may have been one before.
    pub(super) fn resumed(&self) -> watch::Receiver<()> {
        let mut resumed = self.resumed.subscribe();
        resumed.mark_changed();
        resumed
    }

    /// The queues that get a copy of a message.
    pub(super) fn route(&self, envelope: &Envelope) -> Vec<Arc<Queue>> {
        let routing_key = self.topology.routing_key(&envelope.kind, &envelope.key);
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.by_routing_key.get(&routing_key).cloned().unwrap_or_default()
    }
}
