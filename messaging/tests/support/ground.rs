//! Where the contract is tested.

use std::sync::{Arc, Weak};

use anyhow::Result;
use messaging::{
    broker::{Broker, memory::MemoryBroker, rabbit::RabbitBroker},
    topology::Topology,
};
use tokio::sync::Mutex;
use world::RabbitMq;

/// A kind of broker to make some of.
pub(crate) enum Ground {
    Memory,
    Rabbit(Arc<RabbitMq>),
}

/// Tests that run at the same time share a server, each with an exchange of its own; the last one stops it.
static SERVER: Mutex<Weak<RabbitMq>> = Mutex::const_new(Weak::new());

impl Ground {
    pub(crate) async fn rabbit() -> Result<Self> {
        let mut shared = SERVER.lock().await;
        if let Some(server) = shared.upgrade() {
            return Ok(Self::Rabbit(server));
        }
        let server = Arc::new(RabbitMq::start().await?);
        *shared = Arc::downgrade(&server);
        Ok(Self::Rabbit(server))
    }

    pub(crate) fn broker(&self, topology: &Topology) -> Result<Box<dyn Broker>> {
        Ok(match self {
            Self::Memory => Box::new(MemoryBroker::new(topology.clone())),
            Self::Rabbit(server) => Box::new(RabbitBroker::new(&server.amqp_url(), topology.clone())?),
        })
    }
}
