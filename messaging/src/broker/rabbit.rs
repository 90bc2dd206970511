//! RabbitMQ: a durable topic exchange, a quorum queue per partition of a consumer, and confirms for every message.
//!
//! Nothing reconnects in here. A publisher or inflow whose connection is lost says so, and its owner makes another.

mod refusal;
mod connection;
mod nodes;
mod names;
mod passive;
mod declaring;
mod declare;
mod attributes;
mod cloudevents;
mod dead_letter;
mod progress;
mod publisher;
mod inflow;
mod letters;
mod upkeep;

use std::{fmt, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use self::{
    connection::{Link, Tls},
    declaring::Declaring,
    inflow::RabbitInflow,
    nodes::Nodes,
    publisher::RabbitPublisher,
    upkeep::RabbitUpkeep,
};
use super::{Broker, BrokerError, Inflow, Publisher, Upkeep};
use crate::topology::{Subscription, Topology};

/// How long a publisher waits for the confirms of a whole window. An alarm of the broker (memory, disk) stops it from
/// reading what is published without a word on the channel; only this ends the wait.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may take to be ready, with everything declared on it. A quorum queue elects a leader first.
const SETUP_TIMEOUT: Duration = Duration::from_secs(30);

/// Dead letters that are delivered and not yet parked, at most. Each is parked in a transaction of its own.
const DEAD_PREFETCH: u16 = 20;

/// RabbitMQ 3.10 or later, one node or a cluster.
pub struct RabbitBroker {
    nodes: Nodes,
    tls: Option<Tls>,
    topology: Topology,
    confirm_timeout: Duration,
}

/// The broker's URL cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("not a URL of an AMQP broker, such as amqp://user:password@host:5672/vhost: {0}")]
pub struct InvalidUrl(String);

impl RabbitBroker {
    /// A broker at `url`: `amqp://` or `amqps://`, as the [URI specification](https://www.rabbitmq.com/docs/uri-spec) has
    /// it. The default virtual host is an absent path or `/%2f`. Connections are made when they are needed.
    ///
    /// # Errors
    /// When `url` is not of that form.
    pub fn new(url: &str, topology: Topology) -> Result<Self, InvalidUrl> {
        Self::cluster(&[url], topology)
    }

    /// A cluster whose nodes are at these URLs, as [`RabbitBroker::new`] has them. Connections go to one after the other, so that all nodes
    /// have some. One that cannot be reached, or does not answer within 5 s, is passed over.
    ///
    /// # Errors
    /// When one of `urls` is not of that form, or there is none.
    pub fn cluster(urls: &[&str], topology: Topology) -> Result<Self, InvalidUrl> {
        let nodes = Nodes::at(urls).map_err(InvalidUrl)?;
        Ok(Self { nodes, tls: None, topology, confirm_timeout: CONFIRM_TIMEOUT })
    }

    /// Connects over `amqps://` as this says, which is asked with each connection: whom to trust, and what certificate to show. Otherwise the
    /// authorities are trusted that everybody knows (Mozilla's), and none is shown. The broker's certificate must be for the host of the URL.
    #[must_use]
    pub fn with_tls(self, tls: impl Fn() -> io::Result<Arc<ClientConfig>> + Send + Sync + 'static) -> Self {
        Self { tls: Some(Arc::new(tls)), ..self }
    }

    /// Sets how long a publisher waits for the confirms of a whole window, instead of [`CONFIRM_TIMEOUT`].
    #[must_use]
    pub fn with_confirm_timeout(self, confirm_timeout: Duration) -> Self {
        Self { confirm_timeout, ..self }
    }

    async fn open_publisher(&self) -> Result<RabbitPublisher, BrokerError> {
        let link = self.link("publisher").await?;
        for subscription in &self.topology.consumers {
            declare::refuse_fewer_partitions(&link, &self.topology, &subscription.consumer).await?;
        }
        let mut on = Declaring::over(link).await?;
        declare::everything(&mut on, &self.topology).await?;
        let (link, channel) = on.into_parts();
        Ok(RabbitPublisher::new(link, channel, self.topology.clone(), self.confirm_timeout))
    }

    async fn open_inflow(
        &self,
        subscription: &Subscription,
        partition: u16,
        prefetch: u16,
    ) -> Result<RabbitInflow, BrokerError> {
        let queue = self.topology.queue(&subscription.consumer, partition);
        let link = self.nodes.connect(self.tls.as_ref(), &queue).await?;
        declare::refuse_fewer_partitions(&link, &self.topology, &subscription.consumer).await?;
        let mut on = Declaring::over(link).await?;
        declare::exchange(&mut on, &self.topology).await?;
        declare::dead_letters(&mut on, &self.topology).await?;
        declare::partition(&mut on, &self.topology, subscription, partition).await?;
        let (link, channel) = on.into_parts();
        RabbitInflow::start(link, channel, &queue, prefetch).await
    }

    async fn open_dead_letters(&self, consumer: &str) -> Result<RabbitInflow, BrokerError> {
        let queue = self.topology.dead_letter_queue_of(consumer);
        let link = self.nodes.connect(self.tls.as_ref(), &queue).await?;
        let mut on = Declaring::over(link).await?;
        declare::dead_letters(&mut on, &self.topology).await?;
        declare::dead_letters_of(&mut on, &self.topology, consumer).await?;
        let (link, channel) = on.into_parts();
        Ok(RabbitInflow::start(link, channel, &queue, DEAD_PREFETCH).await?.of_dead_letters())
    }

    async fn open_upkeep(&self) -> Result<RabbitUpkeep, BrokerError> {
        RabbitUpkeep::open(self.link("upkeep").await?, self.topology.clone()).await
    }

    async fn link(&self, what: &str) -> Result<Link, BrokerError> {
        self.nodes.connect(self.tls.as_ref(), &format!("{} {what}", self.topology.exchange)).await
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError> {
        Ok(Box::new(in_time(self.open_publisher()).await?))
    }

    async fn subscribe(
        &self,
        subscription: &Subscription,
        partition: u16,
        prefetch: u16,
    ) -> Result<Box<dyn Inflow>, BrokerError> {
        Ok(Box::new(in_time(self.open_inflow(subscription, partition, prefetch)).await?))
    }

    async fn dead_letters(&self, consumer: &str) -> Result<Option<Box<dyn Inflow>>, BrokerError> {
        Ok(Some(Box::new(in_time(self.open_dead_letters(consumer)).await?)))
    }

    async fn upkeep(&self) -> Result<Option<Box<dyn Upkeep>>, BrokerError> {
        Ok(Some(Box::new(in_time(self.open_upkeep()).await?)))
    }
}

async fn in_time<T>(setup: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
    timeout(SETUP_TIMEOUT, setup).await.map_err(|elapsed| BrokerError::Connection(Box::new(elapsed)))?
}

impl fmt::Debug for RabbitBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitBroker")
            .field("nodes", &self.nodes)
            .field("topology", &self.topology)
            .field("confirm_timeout", &self.confirm_timeout)
            .finish_non_exhaustive()
    }
}
