//! The payment of an order was decided: one that is paid is shipped. The order's id is the key of its shipment, so the reaction is idempotent
//! by itself and needs no inbox.

use std::sync::Arc;

use async_trait::async_trait;
use chassis::clock::Clock;
use messaging::{
    consumer::{Effects, Handler, Verdict},
    envelope::Envelope,
    topology::Subscription,
};
use ordermesh::payments::v1::PaymentDecided;
use prost::{Message as _, Name as _};
use sea_orm::DbErr;
use storage::Reading;

use crate::{domain::shipment::Shipment, store::shipments};

/// Ships orders, a batch in a transaction.
#[derive(Debug)]
pub struct ShipOrders {
    /// Where shipments take their time from.
    pub clock: Arc<dyn Clock>,
}

/// What it subscribes to, from its first start on: only the consumers of the mesh's own table have their queues before that.
#[must_use]
pub fn subscription() -> Subscription {
    Subscription { consumer: "shipping".to_owned(), kinds: vec![PaymentDecided::full_name()] }
}

#[async_trait]
impl Handler for ShipOrders {
    async fn handle(
        &self,
        reading: Reading<'_>,
        messages: &[&Envelope],
        _: &mut Effects,
    ) -> Result<Vec<Verdict>, DbErr> {
        let (mut shipments, mut verdicts) = (Vec::new(), Vec::new());
        for message in messages {
            let decided = PaymentDecided::decode(message.payload.clone()).map_err(|error| error.to_string());
            let shipment = decided.and_then(|decided| Shipment::of(decided, self.clock.now()));
            verdicts.push(match shipment {
                Ok(shipment) => {
                    shipments.extend(shipment);
                    Verdict::Done
                }
                Err(problem) => Verdict::Park(problem),
            });
        }
        shipments::add(&reading.executor(), shipments).await?;
        Ok(verdicts)
    }
}
