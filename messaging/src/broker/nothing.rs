//! For a broker that loses nothing behind its clients' backs: nothing is given up, and nothing has to be kept in place.

use async_trait::async_trait;

use super::{BrokerError, Delivery, Found, Inflow, Upkeep};

pub(super) struct NoDeadLetters;

#[async_trait]
impl Inflow for NoDeadLetters {
    async fn receive(&mut self, _max: usize) -> Result<Vec<Delivery>, BrokerError> {
        std::future::pending().await
    }

    async fn ack_through(&mut self, _tag: u64) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn ack(&mut self, _tags: &[u64]) -> Result<(), BrokerError> {
        Ok(())
    }
}

pub(super) struct NothingToKeep;

#[async_trait]
impl Upkeep for NothingToKeep {
    async fn look(&mut self) -> Result<Found, BrokerError> {
        Ok(Found::default())
    }
}
