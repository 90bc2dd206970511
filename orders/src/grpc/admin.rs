//! What an operator asks of orders: the whole way of one.

use chassis::status::{Fault, Reason};
use ordermesh::{
    orders::v1::{ExplainOrderRequest, OrderExplanation, orders_admin_service_server::OrdersAdminService},
    rules,
};
use service::{fault, request::Checks};
use storage::Database;
use tonic::{Request, Response, Status};

use crate::{explain::Explainer, store::orders};

/// Serves `ordermesh.orders.v1.OrdersAdminService`.
#[derive(Debug, Clone)]
pub struct OrdersAdmin {
    /// The orders.
    pub database: Database,
    /// Explains them.
    pub explainer: Explainer,
}

#[tonic::async_trait]
impl OrdersAdminService for OrdersAdmin {
    async fn explain_order(
        &self,
        request: Request<ExplainOrderRequest>,
    ) -> Result<Response<OrderExplanation>, Status> {
        let (metadata, _, ExplainOrderRequest { order_id }) = request.into_parts();
        Checks::default().field("order_id", rules::text(&order_id)).finish()?;
        let absent = || Fault::new(Reason::OrderNotFound, format!("there is no order {order_id}"));
        // An id that is no UUID is the id of no order, too.
        let id = order_id.parse().map_err(|_| absent())?;
        let found = orders::find(self.database.read(), id, None).await.map_err(fault)?;
        let order = found.ok_or_else(absent)?;
        Ok(Response::new(self.explainer.explain(order, metadata.as_ref()).await))
    }
}
