//! Relays and consumers while they run.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use messaging::{
    broker::Broker,
    consumer::{Consumer, Deduplication, Handler},
    health::Health,
    parked::Park,
    pauses::Pauses,
    relay::Relay,
    topology::Subscription,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    between::{Between, OnPublish},
    fact::{Effects, reader},
    place::{Place, topology},
};

/// Short, so that no test waits long for the end of a dead relay's.
pub(crate) const LEASE_TERM: Duration = Duration::from_secs(2);

/// Tasks that end when they are stopped, or die when this is dropped.
#[derive(Default)]
pub(crate) struct Running {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// What they obey.
    pub(crate) pauses: Pauses,
    /// What they say of themselves.
    pub(crate) health: Health,
}

impl Running {
    /// A relay and a consumer that applies everything.
    pub(crate) fn all(place: &Place) -> Self {
        Self::default().relay(place).consumer(place, Effects::always())
    }

    pub(crate) fn relay(self, place: &Place) -> Self {
        self.relay_to(place, Arc::clone(&place.broker))
    }

    /// With a test between the relay and the broker.
    pub(crate) fn relay_through(self, place: &Place, test: impl OnPublish) -> Self {
        self.relay_to(place, Arc::new(Between { broker: Arc::clone(&place.broker), test }))
    }

    fn relay_to(mut self, place: &Place, broker: Arc<dyn Broker>) -> Self {
        let relay = Relay::new(place.database.clone(), place.outbox.clone(), broker, "/tests");
        let relay = relay.with_lease_term(LEASE_TERM).with_health(&self.health).with_pauses(&self.pauses);
        self.tasks.spawn(relay.run(self.stop.clone()));
        self
    }

    /// As another process that obeys the pauses in the database.
    pub(crate) fn with_pauses(mut self, place: &Place) -> Self {
        self.pauses = Pauses::unread();
        self.tasks.spawn(self.pauses.clone().follow(place.database.clone(), self.stop.clone()));
        self
    }

    /// A consumer that is different from others.
    pub(crate) fn consumer_as(
        mut self,
        subscription: Subscription,
        place: &Place,
        effects: impl Handler,
        park: Park,
        partitions: u16,
    ) -> Self {
        let (database, broker) = (place.database.clone(), Arc::clone(&place.broker));
        let consumer =
            Consumer::new(database, broker, partitions, subscription, Deduplication::Inbox, effects);
        let consumer = consumer.with_health(&self.health).with_pauses(&self.pauses).with_park(park);
        self.tasks.spawn(consumer.run(self.stop.clone()));
        self
    }

    /// A consumer of requests, whose senders ask again.
    pub(crate) fn requests(
        mut self,
        subscription: Subscription,
        place: &Place,
        effects: impl Handler,
    ) -> Self {
        let (database, broker) = (place.database.clone(), Arc::clone(&place.broker));
        let (partitions, requests) = (topology().partitions, Deduplication::Requests);
        let consumer = Consumer::new(database, broker, partitions, subscription, requests, effects);
        self.tasks.spawn(consumer.run(self.stop.clone()));
        self
    }

    /// A relay as services run it.
    pub(crate) fn relay_with_usual_lease(mut self, place: &Place) -> Self {
        let broker = Arc::clone(&place.broker);
        let relay = Relay::new(place.database.clone(), place.outbox.clone(), broker, "/tests");
        self.tasks.spawn(relay.run(self.stop.clone()));
        self
    }

    pub(crate) fn consumer(self, place: &Place, effects: impl Handler) -> Self {
        self.consumer_of(reader(), place, effects)
    }

    pub(crate) fn consumer_of(
        self,
        subscription: Subscription,
        place: &Place,
        effects: impl Handler,
    ) -> Self {
        self.consumer_as(subscription, place, effects, Park::Message, topology().partitions)
    }

    /// Lets every task finish what it has begun.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(())
    }
}
