//! The contract, answered.

use auth::Access;
use chassis::{
    clock::timestamp,
    status::{Fault, Reason},
};
use ordermesh::rules;
use service::{fault, request::Checks};
use storage::Database;
use tonic::{Request, Response, Status};

use crate::{
    store::shipments,
    v1::{GetShipmentRequest, Shipment, shipping_service_server::ShippingService},
};

/// Serves `shipping.v1.ShippingService`.
#[derive(Debug, Clone)]
pub struct Grpc {
    /// The shipments.
    pub database: Database,
}

#[tonic::async_trait]
impl ShippingService for Grpc {
    async fn get_shipment(&self, request: Request<GetShipmentRequest>) -> Result<Response<Shipment>, Status> {
        let access = Access::of(request.extensions())?;
        let order_id = request.into_inner().order_id;
        Checks::default().field("order_id", rules::text(&order_id)).finish()?;
        let absent = || Fault::new(Reason::OrderNotFound, format!("order {order_id} is not shipped"));
        let id = order_id.parse().map_err(|_| absent())?;
        let found = shipments::find(self.database.read(), id, access.owner())
            .await
            .map_err(fault)?
            .ok_or_else(absent)?;
        Ok(Response::new(Shipment {
            order_id: found.order_id.to_string(),
            user_id: found.user_id,
            create_time: Some(timestamp(found.create_time)),
        }))
    }
}
