//! What an operator asks of payments: every account, the sums, and what became of one order.

use ordermesh::{
    payments::v1::{
        ExplainPaymentRequest, GetReconciliationReportRequest, ListAccountsRequest, ListAccountsResponse,
        PaymentExplanation, ReconciliationReport, payments_admin_service_server::PaymentsAdminService,
    },
    reconciliation::v1::{
        DecisionsDigest, DigestDecisionsRequest, ListDecisionsRequest, ListDecisionsResponse,
    },
};
use service::{
    decisions::Decisions,
    fault,
    page::{self, PageTokens},
    request::Checks,
    whereabouts::Whereabouts,
};
use storage::Database;
use tonic::{Request, Response, Status};

use super::{explain, wire};
use crate::store::{accounts, reconciliation};

/// What a page token of ListAccounts is bound to: the list has no choices.
const QUERY: &[u8] = b"ListAccounts";

/// Serves `ordermesh.payments.v1.PaymentsAdminService`.
#[derive(Debug, Clone)]
pub struct PaymentsAdmin {
    /// The ledger.
    pub database: Database,
    /// The tokens of ListAccounts.
    pub pages: PageTokens,
    /// Where its messages are.
    pub whereabouts: Whereabouts,
    /// Its decisions, for reconciliation.
    pub decisions: Decisions,
}

#[tonic::async_trait]
impl PaymentsAdminService for PaymentsAdmin {
    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let ListAccountsRequest { page_size, page_token } = request.into_inner();
        let mut checks = Checks::default();
        let size = page::size(page_size, &mut checks);
        checks.finish()?;
        let user_id = |cursor: &[u8]| String::from_utf8(cursor.to_vec()).ok();
        let after = self.pages.resume(QUERY, &page_token, user_id)?.unwrap_or_default();
        let page = accounts::page(self.database.read(), &after, size + 1).await;
        let mut page = page.map_err(fault)?;
        let next_page_token = self.pages.cut(QUERY, size, &mut page, |last| last.user_id.clone());
        let accounts = page.iter().map(wire::account).collect();
        Ok(Response::new(ListAccountsResponse { accounts, next_page_token }))
    }

    async fn get_reconciliation_report(
        &self,
        _request: Request<GetReconciliationReportRequest>,
    ) -> Result<Response<ReconciliationReport>, Status> {
        let sums = reconciliation::sums(self.database.reports()).await;
        let sums = sums.map_err(fault)?;
        Ok(Response::new(ReconciliationReport { currencies: sums.into_iter().map(wire::sums).collect() }))
    }

    async fn explain_payment(
        &self,
        request: Request<ExplainPaymentRequest>,
    ) -> Result<Response<PaymentExplanation>, Status> {
        Ok(Response::new(explain::explain(&self.whereabouts, request.into_inner()).await?))
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
}
