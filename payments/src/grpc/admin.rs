//! What an operator asks of payments: every account, and the sums.

use chassis::status::{Fault, Reason};
use ordermesh::payments::v1::{
    GetReconciliationReportRequest, ListAccountsRequest, ListAccountsResponse, ReconciliationReport,
    payments_admin_service_server::PaymentsAdminService,
};
use service::{
    page::{self, PageTokens},
    request::Checks,
};
use storage::{Database, Failure};
use tonic::{Request, Response, Status};

use super::wire;
use crate::store::{self, accounts, reconciliation};

/// What a page token of ListAccounts is bound to: the list has no choices.
const QUERY: &[u8] = b"ListAccounts";

/// Serves `ordermesh.payments.v1.PaymentsAdminService`.
#[derive(Debug, Clone)]
pub struct PaymentsAdmin {
    /// The ledger.
    pub database: Database,
    /// The tokens of ListAccounts.
    pub pages: PageTokens,
}

#[tonic::async_trait]
impl PaymentsAdminService for PaymentsAdmin {
    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let ListAccountsRequest { page_size, page_token } = request.into_inner();
        let size = page::size(page_size);
        Checks::default().field("page_size", size.map(drop).ok_or("must not be negative")).finish()?;
        let size = size.unwrap_or(page::DEFAULT_SIZE);
        let after = if page_token.is_empty() {
            String::new()
        } else {
            let cursor = self.pages.open(QUERY, &page_token).ok();
            let invalid =
                || Fault::of_field(Reason::InvalidPageToken, "page_token", "was not made for this query");
            cursor.and_then(|cursor| String::from_utf8(cursor).ok()).ok_or_else(invalid)?
        };
        let page = accounts::page(self.database.read(), &after, size + 1).await;
        let mut page = page.map_err(Failure::from).map_err(store::fault)?;
        // One more than asked for was read, to know whether there is a next page.
        let more = page.len() as u64 > size;
        page.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let last = page.last().filter(|_| more);
        let next = last.map(|last| self.pages.seal(QUERY, last.user_id.as_bytes())).unwrap_or_default();
        let accounts = page.iter().map(wire::account).collect();
        Ok(Response::new(ListAccountsResponse { accounts, next_page_token: next }))
    }

    async fn get_reconciliation_report(
        &self,
        _request: Request<GetReconciliationReportRequest>,
    ) -> Result<Response<ReconciliationReport>, Status> {
        let sums = reconciliation::sums(self.database.reports()).await;
        let sums = sums.map_err(Failure::from).map_err(store::fault)?;
        Ok(Response::new(ReconciliationReport { currencies: sums.into_iter().map(wire::sums).collect() }))
    }
}
