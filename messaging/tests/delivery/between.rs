//! A broker with a test between it and whoever publishes.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use messaging::{
    broker::{Broker, BrokerError, Inflow, Outcome, Publisher},
    envelope::Envelope,
    topology::Subscription,
};

/// What a test does with each window before the broker has it, or in place of that.
#[async_trait]
pub(crate) trait OnPublish: Clone + fmt::Debug + Send + Sync + 'static {
    async fn publish(&self, window: &[Envelope], broker: &mut dyn Publisher) -> Vec<Outcome>;
}

#[derive(Debug)]
pub(crate) struct Between<T> {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) test: T,
}

#[async_trait]
impl<T: OnPublish> Broker for Between<T> {
    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError> {
        Ok(Box::new(BetweenPublisher { broker: self.broker.publisher().await?, test: self.test.clone() }))
    }

    async fn subscribe(
        &self,
        to: &Subscription,
        partition: u16,
        prefetch: u16,
    ) -> Result<Box<dyn Inflow>, BrokerError> {
        self.broker.subscribe(to, partition, prefetch).await
    }
}

struct BetweenPublisher<T> {
    broker: Box<dyn Publisher>,
    test: T,
}

#[async_trait]
impl<T: OnPublish> Publisher for BetweenPublisher<T> {
    async fn publish(&mut self, window: &[Envelope]) -> Vec<Outcome> {
        self.test.publish(window, &mut *self.broker).await
    }

    async fn resumed(&mut self) {
        self.broker.resumed().await;
    }
}
