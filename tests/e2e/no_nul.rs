//! U+0000 in any text of any request is the caller's error, and the field is named: PostgreSQL cannot even be asked about it.

use std::fmt::Debug;

use anyhow::{Result, ensure};
use ordermesh::{
    orders::v1::{
        CancelOrderRequest, CreateOrderRequest, GetOrderRequest, ListOrderEventsRequest, ListOrdersRequest,
        Order, WatchOrderRequest, WatchOrdersRequest,
    },
    payments::v1::{
        Account, CreateAccountRequest, GetAccountRequest, GetPaymentRequest, ListLedgerEntriesRequest,
        TopUpAccountRequest,
    },
};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;
use world::{Postgres, Scratch};

use crate::alone::{self, NO_BROKER, Orders, Payments};

#[tokio::test]
async fn sqlite() -> Result<()> {
    let scratch = Scratch::new("nul")?;
    let url = |service: &str| format!("sqlite:{}", scratch.path().join(service).display());
    refuse(&url("orders.db"), &url("payments.db")).await
}

#[tokio::test]
async fn postgres() -> Result<()> {
    let postgres = Postgres::start().await?;
    refuse(&postgres.fresh_database().await?, &postgres.fresh_database().await?).await
}

async fn refuse(orders_url: &str, payments_url: &str) -> Result<()> {
    let mut orders = alone::program("orders", orders_url, NO_BROKER)?.start()?;
    let mut payments = alone::program("payments", payments_url, NO_BROKER)?.start()?;
    of_orders(&mut alone::orders(&mut orders).await?).await?;
    of_payments(&mut alone::payments(&mut payments).await?).await
}

fn names<T: Debug>(field: &str, answer: Result<Response<T>, Status>) -> Result<()> {
    let Err(status) = answer else { anyhow::bail!("{field}: {answer:?}") };
    let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let named = fields.iter().any(|violation| violation.field == field);
    ensure!(status.code() == Code::InvalidArgument && named, "{field}: {status:?}");
    Ok(())
}

fn nul() -> String {
    "a\0b".to_owned()
}

async fn of_orders(client: &mut Orders) -> Result<()> {
    let order = || Order { user_id: "alice".into(), amount: 1, ..Order::default() };
    for (field, order, request_id) in [
        ("order.user_id", Order { user_id: nul(), ..order() }, String::new()),
        ("order.currency_code", Order { currency_code: nul(), ..order() }, String::new()),
        ("order.description", Order { description: nul(), ..order() }, String::new()),
        ("request_id", order(), nul()),
    ] {
        names(field, client.create_order(CreateOrderRequest { order: Some(order), request_id }).await)?;
    }
    names("order_id", client.get_order(GetOrderRequest { order_id: nul() }).await)?;
    names("order_id", client.list_order_events(ListOrderEventsRequest { order_id: nul() }).await)?;
    let cancel = CancelOrderRequest { order_id: nul(), ..CancelOrderRequest::default() };
    names("order_id", client.cancel_order(cancel.clone()).await)?;
    names("request_id", client.cancel_order(CancelOrderRequest { request_id: nul(), ..cancel }).await)?;
    let watched = client.watch_order(WatchOrderRequest { order_id: nul(), after_version: 0 }).await;
    names("order_id", watched.map(|_| Response::new(())))?;
    let board = client.watch_orders(WatchOrdersRequest { user_id: nul(), status: 0 }).await;
    names("user_id", board.map(|_| Response::new(())))?;
    let list = ListOrdersRequest::default;
    for (field, request) in [
        ("user_id", ListOrdersRequest { user_id: nul(), ..list() }),
        ("page_token", ListOrdersRequest { page_token: nul(), ..list() }),
        ("order_by", ListOrdersRequest { order_by: nul(), ..list() }),
        ("filter", ListOrdersRequest { filter: "request_id = \"a\0b\"".into(), ..list() }),
        ("filter", ListOrdersRequest { filter: nul(), ..list() }),
    ] {
        names(field, client.list_orders(request).await)?;
    }
    Ok(())
}

async fn of_payments(client: &mut Payments) -> Result<()> {
    let account = || Account { user_id: "alice".into(), ..Account::default() };
    for (field, account, request_id) in [
        ("account.user_id", Account { user_id: nul(), ..account() }, String::new()),
        ("account.currency_code", Account { currency_code: nul(), ..account() }, String::new()),
        ("request_id", account(), nul()),
    ] {
        names(
            field,
            client.create_account(CreateAccountRequest { account: Some(account), request_id }).await,
        )?;
    }
    client
        .create_account(CreateAccountRequest { account: Some(account()), request_id: String::new() })
        .await?;
    let top_up =
        || TopUpAccountRequest { user_id: "alice".into(), amount: 1, ..TopUpAccountRequest::default() };
    for (field, request) in [
        ("user_id", TopUpAccountRequest { user_id: nul(), ..top_up() }),
        ("currency_code", TopUpAccountRequest { currency_code: nul(), ..top_up() }),
        ("request_id", TopUpAccountRequest { request_id: nul(), ..top_up() }),
    ] {
        names(field, client.top_up_account(request).await)?;
    }
    names("user_id", client.get_account(GetAccountRequest { user_id: nul() }).await)?;
    names("order_id", client.get_payment(GetPaymentRequest { order_id: nul() }).await)?;
    let list = || ListLedgerEntriesRequest { user_id: "alice".into(), ..ListLedgerEntriesRequest::default() };
    for (field, request) in [
        ("user_id", ListLedgerEntriesRequest { user_id: nul(), ..list() }),
        ("page_token", ListLedgerEntriesRequest { page_token: nul(), ..list() }),
        ("filter", ListLedgerEntriesRequest { filter: "request_id = \"a\0b\"".into(), ..list() }),
        ("filter", ListLedgerEntriesRequest { filter: "order_id = \"a\0b\"".into(), ..list() }),
    ] {
        names(field, client.list_ledger_entries(request).await)?;
    }
    Ok(())
}
