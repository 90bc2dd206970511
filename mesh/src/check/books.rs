//! The books: every order, account, ledger entry and decision, read through public and admin calls.

use std::{
    collections::HashMap,
    io::{IsTerminal as _, Write as _, stderr},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ordermesh::{
    messaging::v1::{
        GetMessagingStatusRequest, MessagingStatus,
        messaging_admin_service_client::MessagingAdminServiceClient,
    },
    orders::v1::{
        ListOrderEventsRequest, ListOrdersRequest, Order, OrderEvent,
        orders_service_client::OrdersServiceClient,
    },
    payments::v1::{
        Account, GetPaymentRequest, GetReconciliationReportRequest, LedgerEntry, ListAccountsRequest,
        ListLedgerEntriesRequest, Payment, ReconciliationReport,
        payments_admin_service_client::PaymentsAdminServiceClient,
        payments_service_client::PaymentsServiceClient,
    },
};
use tonic::Code;

use crate::services::Caller;

/// The largest pages that are given.
const PAGE: i32 = 1_000;
/// Calls at once.
const CALLS: usize = 32;

/// Everything that a check looks at.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// In the order of the list, the newest first.
    pub(super) orders: Vec<Order>,
    /// By order id.
    pub(super) events: HashMap<String, Vec<OrderEvent>>,
    /// By order id.
    pub(super) payments: HashMap<String, Payment>,
    /// By user id.
    pub(super) accounts: Vec<Account>,
    /// By user id, the oldest first.
    pub(super) entries: HashMap<String, Vec<LedgerEntry>>,
    pub(super) report: ReconciliationReport,
    /// By the name of the service.
    pub(super) messages: Vec<(&'static str, MessagingStatus)>,
}

struct Reader {
    orders: OrdersServiceClient<Caller>,
    payments: PaymentsServiceClient<Caller>,
}

impl Books {
    /// Reads everything.
    ///
    /// # Errors
    /// When a service cannot be reached, or refuses the token.
    pub(super) async fn read(orders: Caller, payments: Caller) -> anyhow::Result<Self> {
        let mut reader = Reader {
            orders: OrdersServiceClient::new(orders.clone()),
            payments: PaymentsServiceClient::new(payments.clone()),
        };
        let mut books = Self { orders: reader.orders().await?, ..Self::default() };
        books.events = reader.events(&books.orders).await?;
        books.payments = reader.payments(&books.orders).await?;
        let mut admin = PaymentsAdminServiceClient::new(payments.clone());
        books.accounts = reader.accounts(&mut admin).await?;
        books.entries = reader.entries(&books.accounts).await?;
        books.report = admin.get_reconciliation_report(GetReconciliationReportRequest {}).await?.into_inner();
        for (service, channel) in [("orders", orders), ("payments", payments)] {
            let mut messages = MessagingAdminServiceClient::new(channel);
            let status = messages.get_messaging_status(GetMessagingStatusRequest {}).await?;
            books.messages.push((service, status.into_inner()));
        }
        Ok(books)
    }
}

impl Reader {
    async fn orders(&mut self) -> anyhow::Result<Vec<Order>> {
        let (mut orders, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListOrdersRequest { page_size: PAGE, page_token, ..ListOrdersRequest::default() };
            let page = self.orders.list_orders(request).await?.into_inner();
            orders.extend(page.orders);
            progress("orders", orders.len());
            if page.next_page_token.is_empty() {
                return Ok(orders);
            }
            page_token = page.next_page_token;
        }
    }

    async fn events(&self, orders: &[Order]) -> anyhow::Result<HashMap<String, Vec<OrderEvent>>> {
        let events = stream::iter(orders).enumerate().map(|(at, order)| {
            let mut client = self.orders.clone();
            let request = ListOrderEventsRequest { order_id: order.id.clone() };
            async move {
                let listed = client.list_order_events(request).await?.into_inner();
                progress("histories", at + 1);
                anyhow::Ok((order.id.clone(), listed.events))
            }
        });
        events.buffered(CALLS).try_collect().await
    }

    async fn payments(&self, orders: &[Order]) -> anyhow::Result<HashMap<String, Payment>> {
        let payments = stream::iter(orders).enumerate().map(|(at, order)| {
            let mut client = self.payments.clone();
            let request = GetPaymentRequest { order_id: order.id.clone() };
            async move {
                let found = client.get_payment(request).await;
                progress("payments", at + 1);
                match found {
                    Ok(payment) => anyhow::Ok(Some((order.id.clone(), payment.into_inner()))),
                    Err(status) if status.code() == Code::NotFound => Ok(None),
                    Err(status) => Err(status.into()),
                }
            }
        });
        let payments: Vec<Option<(String, Payment)>> = payments.buffered(CALLS).try_collect().await?;
        Ok(payments.into_iter().flatten().collect())
    }

    async fn accounts(&self, admin: &mut PaymentsAdminServiceClient<Caller>) -> anyhow::Result<Vec<Account>> {
        let (mut accounts, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListAccountsRequest { page_size: PAGE, page_token };
            let page = admin.list_accounts(request).await?.into_inner();
            accounts.extend(page.accounts);
            progress("accounts", accounts.len());
            if page.next_page_token.is_empty() {
                return Ok(accounts);
            }
            page_token = page.next_page_token;
        }
    }

    async fn entries(&self, accounts: &[Account]) -> anyhow::Result<HashMap<String, Vec<LedgerEntry>>> {
        let ledgers = stream::iter(accounts).enumerate().map(|(at, account)| async move {
            let entries = ledger(self.payments.clone(), &account.user_id).await?;
            progress("ledgers", at + 1);
            anyhow::Ok((account.user_id.clone(), entries))
        });
        ledgers.buffered(CALLS).try_collect().await
    }
}

async fn ledger(
    mut client: PaymentsServiceClient<Caller>,
    user_id: &str,
) -> anyhow::Result<Vec<LedgerEntry>> {
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListLedgerEntriesRequest {
            user_id: user_id.to_owned(),
            page_size: PAGE,
            page_token,
            ..ListLedgerEntriesRequest::default()
        };
        let page = client.list_ledger_entries(request).await?.into_inner();
        entries.extend(page.entries);
        if page.next_page_token.is_empty() {
            entries.reverse();
            return Ok(entries);
        }
        page_token = page.next_page_token;
    }
}

/// Shows how far the reading is, to a person who watches.
fn progress(what: &str, read: usize) {
    if stderr().is_terminal() && (read < 100 || read.is_multiple_of(100)) {
        // Nobody reads a terminal that has gone.
        let _unseen = write!(stderr(), "\r\x1b[Kreading {what}: {read}");
    }
}
