//! Where the contract is tested.

use anyhow::Result;
use messaging::{
    broker::{Broker, memory::MemoryBroker, rabbit::RabbitBroker},
    topology::Topology,
};
use world::RabbitMq;

/// A kind of broker to make some of.
pub(crate) enum Ground {
    Memory,
    Rabbit(RabbitMq),
}

impl Ground {
    pub(crate) async fn rabbit() -> Result<Self> {
        Ok(Self::Rabbit(RabbitMq::shared().await?))
    }

    pub(crate) fn broker(&self, topology: &Topology) -> Result<Box<dyn Broker>> {
        Ok(match self {
            Self::Memory => Box::new(MemoryBroker::new(topology.clone())),
            Self::Rabbit(server) => Box::new(RabbitBroker::new(&server.amqp_url(), topology.clone())?),
        })
    }
}
