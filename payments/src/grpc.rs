//! The contract, answered: requests are checked, handed to a command or a query, and the result is put into the wire's words.

mod list;
pub mod wire;
mod explain;
pub mod admin;

use std::sync::Arc;

use auth::Access;
use chassis::{
    clock::Clock,
    status::{Fault, Reason},
};
use ordermesh::{
    payments::v1::{
        Account, CreateAccountRequest, GetAccountRequest, GetPaymentRequest, ListLedgerEntriesRequest,
        ListLedgerEntriesResponse, Payment, TopUpAccountRequest, TopUpAccountResponse,
        payments_service_server::PaymentsService,
    },
    rules,
};
use service::{
    fault, filter,
    page::{self, PageTokens},
    request::{Checks, answer, fingerprint, non_empty, origin},
};
use storage::{Database, group::GroupCommit};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    commands::{create_account::CreateAccount, top_up_account::TopUpAccount},
    domain::deposit::Deposit,
    store::{accounts, entity::account, ledger, payments},
};

/// Serves `ordermesh.payments.v1.PaymentsService`.
#[derive(Debug, Clone)]
pub struct Grpc {
    pub(crate) database: Database,
    pub(crate) clock: Arc<dyn Clock>,
    /// ISO 4217: what an empty `currency_code` means.
    pub(crate) default_currency: String,
    pub(crate) pages: PageTokens,
    pub(crate) create_account: GroupCommit<CreateAccount>,
    pub(crate) top_up_account: GroupCommit<TopUpAccount>,
}

#[tonic::async_trait]
impl PaymentsService for Grpc {
    async fn create_account(
        &self,
        request: Request<CreateAccountRequest>,
    ) -> Result<Response<Account>, Status> {
        let access = Access::of(request.extensions())?;
        let CreateAccountRequest { account, request_id } = request.into_inner();
        let mut input = account.unwrap_or_default();
        access.resolve_user(&mut input.user_id)?;
        let currency_code = self.currency(&input.currency_code);
        Checks::default()
            .field("account.user_id", rules::user_id(&input.user_id))
            .field("account.currency_code", rules::currency_code(&currency_code))
            .field("request_id", rules::request_id(&request_id))
            .finish()?;
        let fingerprint = fingerprint(&Account {
            user_id: input.user_id.clone(),
            currency_code: input.currency_code,
            ..Account::default()
        });
        let now = self.clock.now();
        let opened = self.create_account.submit(account::Model {
            user_id: input.user_id,
            balance: 0,
            currency_code,
            version: 0,
            create_time: now,
            update_time: now,
            fingerprint: (!request_id.is_empty()).then(|| fingerprint.to_vec()),
            request_id: non_empty(request_id),
        });
        let (account, replayed) = opened.await.map_err(fault)??;
        Ok(answer(wire::account(&account), replayed))
    }

    async fn top_up_account(
        &self,
        request: Request<TopUpAccountRequest>,
    ) -> Result<Response<TopUpAccountResponse>, Status> {
        let (access, origin) = (Access::of(request.extensions())?, origin(&request));
        let mut request = request.into_inner();
        access.resolve_user(&mut request.user_id)?;
        let request_id = std::mem::take(&mut request.request_id);
        let fingerprint = fingerprint(&request);
        let currency_code = self.currency(&request.currency_code);
        let versions = rules::versions(&request.etag);
        Checks::default()
            .field("user_id", rules::user_id(&request.user_id))
            .field("etag", versions.as_ref().map(drop).map_err(|problem| *problem))
            .field("amount", rules::amount(request.amount))
            .field("currency_code", rules::currency_code(&currency_code))
            .field("request_id", rules::request_id(&request_id))
            .finish()?;
        let booked = self.top_up_account.submit(Deposit {
            user_id: request.user_id,
            amount: request.amount,
            currency_code,
            request_id: non_empty(request_id),
            versions: versions.unwrap_or_default(),
            fingerprint,
            origin,
        });
        let booked = booked.await.map_err(fault)??;
        let message = TopUpAccountResponse {
            account: Some(wire::account(&booked.account)),
            entry: Some(wire::entry(&booked.entry)),
        };
        Ok(answer(message, booked.replayed))
    }

    async fn get_account(&self, request: Request<GetAccountRequest>) -> Result<Response<Account>, Status> {
        let (_, extensions, GetAccountRequest { mut user_id }) = request.into_parts();
        Access::resolve_one_user(&extensions, &mut user_id)?;
        Checks::default().field("user_id", rules::user_id(&user_id)).finish()?;
        Ok(Response::new(wire::account(&self.account(&user_id).await?)))
    }

    async fn list_ledger_entries(
        &self,
        request: Request<ListLedgerEntriesRequest>,
    ) -> Result<Response<ListLedgerEntriesResponse>, Status> {
        let (_, extensions, mut request) = request.into_parts();
        Access::resolve_one_user(&extensions, &mut request.user_id)?;
        let mut checks = Checks::default();
        checks.field("user_id", rules::user_id(&request.user_id));
        let size = page::size(request.page_size, &mut checks);
        checks.finish()?;
        let conditions = filter::conditions(&request.filter, list::condition)?;
        // The token goes on with this ledger, whatever the size of the pages.
        let query = fingerprint(&ListLedgerEntriesRequest {
            page_size: 0,
            page_token: String::new(),
            ..request.clone()
        });
        let sequence = |cursor: &[u8]| Some(i64::from_be_bytes(cursor.try_into().ok()?));
        let before = self.pages.resume(&query, &request.page_token, sequence)?;
        self.account(&request.user_id).await?;
        let page = ledger::page(self.database.read(), &request.user_id, &conditions, before, size + 1).await;
        let mut page = page.map_err(fault)?;
        let next_page_token = self.pages.cut(&query, size, &mut page, |last| last.sequence.to_be_bytes());
        let entries = page.iter().map(wire::entry).collect();
        Ok(Response::new(ListLedgerEntriesResponse { entries, next_page_token }))
    }

    async fn get_payment(&self, request: Request<GetPaymentRequest>) -> Result<Response<Payment>, Status> {
        let access = Access::of(request.extensions())?;
        let order_id = request.into_inner().order_id;
        Checks::default().field("order_id", rules::text(&order_id)).finish()?;
        // An id that is no UUID is the id of no order.
        let found = match order_id.parse::<Uuid>() {
            Ok(id) => payments::find(self.database.read(), id, access.owner()).await.map_err(fault)?,
            Err(_) => None,
        };
        let absent = || {
            Fault::new(Reason::PaymentNotFound, format!("no payment of order {order_id} has been decided"))
        };
        Ok(Response::new(wire::payment(&found.ok_or_else(absent)?)))
    }
}

impl Grpc {
    async fn account(&self, user_id: &str) -> Result<account::Model, Fault> {
        let found = accounts::find(self.database.read(), user_id).await.map_err(fault)?;
        found.ok_or_else(|| Fault::new(Reason::AccountNotFound, format!("user {user_id} has no account")))
    }

    fn currency(&self, given: &str) -> String {
        if given.is_empty() { self.default_currency.clone() } else { given.to_owned() }
    }
}
