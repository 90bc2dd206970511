//! What an operator asks of orders: the whole way of one, and what payments has otherwise.

use chassis::status::{Fault, Reason};
use ordermesh::{
    orders::v1::{
        ExplainOrderRequest, GetReconciliationRequest, HealDifferencesRequest, HealDifferencesResponse,
        OrderExplanation, Reconciliation, orders_admin_service_server::OrdersAdminService,
    },
    reconciliation::v1::{
        DecisionsDigest, DigestDecisionsRequest, ListDecisionsRequest, ListDecisionsResponse,
    },
    rules,
};
use sea_orm::DbErr;
use service::{decisions::Decisions, fault, page::PageTokens, request::Checks};
use storage::Database;
use tonic::{Request, Response, Status};

use super::differences;
use crate::{
    explain::Explainer,
    reconciliation::status::Shared,
    store::{self, orders},
};

/// Serves `ordermesh.orders.v1.OrdersAdminService`.
#[derive(Debug, Clone)]
pub struct OrdersAdmin {
    /// The orders.
    pub database: Database,
    /// Explains them.
    pub explainer: Explainer,
    /// What reconciliation compares.
    pub decisions: Decisions,
    /// How far that is.
    pub reconciliation: Shared,
    /// The tokens of GetReconciliation.
    pub pages: PageTokens,
}

#[tonic::async_trait]
impl OrdersAdminService for OrdersAdmin {
    async fn explain_order(
        &self,
        request: Request<ExplainOrderRequest>,
    ) -> Result<Response<OrderExplanation>, Status> {
        let (metadata, _, ExplainOrderRequest { order_id }) = request.into_parts();
        Checks::default().field("order_id", rules::text(&order_id)).finish()?;
        let absent =
            |why: &str| Fault::new(Reason::OrderNotFound, format!("there is no order {order_id}{why}"));
        // An id that is no UUID is the id of no order, too.
        let id = order_id.parse().map_err(|_| absent(""))?;
        let read = self.database.read();
        let Some(order) = orders::find(read, id, None).await.map_err(of_orders)? else {
            // Orders may have lost it.
            let lost = store::differences::find(read, id).await.map_err(of_orders)?;
            let why = lost.map(|lost| format!(": {}", differences::sentence(&lost)));
            return Err(absent(&why.unwrap_or_default()).into());
        };
        Ok(Response::new(self.explainer.explain(order, metadata.as_ref()).await))
    }

    async fn digest_decisions(
        &self,
        request: Request<DigestDecisionsRequest>,
    ) -> Result<Response<DecisionsDigest>, Status> {
        Ok(Response::new(self.decisions.digest(request.into_inner()).await?))
    }

    async fn list_decisions(
        &self,
        request: Request<ListDecisionsRequest>,
    ) -> Result<Response<ListDecisionsResponse>, Status> {
        Ok(Response::new(self.decisions.list(request.into_inner()).await?))
    }

    async fn get_reconciliation(
        &self,
        request: Request<GetReconciliationRequest>,
    ) -> Result<Response<Reconciliation>, Status> {
        let (request, status) = (request.into_inner(), self.reconciliation.read());
        let answer = differences::get(&self.database, &self.pages, status, request);
        Ok(Response::new(answer.await?))
    }

    async fn heal_differences(
        &self,
        request: Request<HealDifferencesRequest>,
    ) -> Result<Response<HealDifferencesResponse>, Status> {
        let differences = differences::heal(&self.database, request).await?;
        Ok(Response::new(HealDifferencesResponse { differences }))
    }
}

/// What the database of orders does not do: an explanation is of two services, so it is said whose that is.
fn of_orders(error: DbErr) -> Fault {
    let fault = fault(error);
    let is_away = matches!(fault.reason, Reason::StorageUnavailable);
    let message =
        if is_away { "the database of orders is not available: try again".to_owned() } else { fault.message };
    Fault { message, ..fault }
}
