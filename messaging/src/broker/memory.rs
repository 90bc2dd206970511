//! The in-process broker: nothing it holds is durable, so it confirms a message only when every consumer has acknowledged it.
//!
//! Whatever a crash loses here is therefore still a row in the publisher's outbox, and is published again after the restart.

mod flight;
mod queue;
mod exchange;
mod publisher;
mod inflow;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use self::{exchange::Exchange, inflow::MemoryInflow, publisher::MemoryPublisher};
use super::{Broker, BrokerError, Held, Inflow, Publisher};
use crate::topology::{Subscription, Topology};

/// How long a publisher waits for the consumers. Well above the time of one batch with its retries: a message that is
/// published again while the first copy is still being handled costs a look into the inbox.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// A broker inside the process.
///
/// It holds only messages whose publishers are waiting for them, so it is bounded by their windows.
pub struct MemoryBroker {
    exchange: Arc<Exchange>,
    confirm_timeout: Duration,
}

impl MemoryBroker {
    /// A broker with the queues of the consumers that must exist. Further ones come to be with their first subscriber; a kind
    /// without a queue is [`Unroutable`](super::Outcome::Unroutable).
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        Self { exchange: Arc::new(Exchange::new(topology)), confirm_timeout: CONFIRM_TIMEOUT }
    }

    /// Sets how long a publisher waits for a whole window to be acknowledged, instead of [`CONFIRM_TIMEOUT`].
    #[must_use]
    pub fn with_confirm_timeout(self, confirm_timeout: Duration) -> Self {
        Self { confirm_timeout, ..self }
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError> {
        Ok(Box::new(MemoryPublisher::new(Arc::clone(&self.exchange), self.confirm_timeout)))
    }

    async fn subscribe(
        &self,
        subscription: &Subscription,
        partition: u16,
        prefetch: u16,
    ) -> Result<Box<dyn Inflow>, BrokerError> {
        let queue = self.exchange.declare(subscription, partition);
        Ok(Box::new(MemoryInflow::new(queue, prefetch)))
    }

    fn hold(&self, subscription: &Subscription, partition: u16) -> Held {
        Held(Some(Box::new(self.exchange.hold(subscription, partition))))
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker")
            .field("topology", self.exchange.topology())
            .field("confirm_timeout", &self.confirm_timeout)
            .finish_non_exhaustive()
    }
}
