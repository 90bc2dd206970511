//! Who sees the data of all users, and is one as well.

use anyhow::{Result, ensure};
use ordermesh::{
    orders::v1::{ListOrdersRequest, orders_service_client::OrdersServiceClient},
    payments::v1::{
        GetAccountRequest, ListLedgerEntriesRequest, payments_service_client::PaymentsServiceClient,
    },
};
use world::{Issuer, claims};

use crate::{
    identity::mesh,
    identity_kept::{ALL, with},
    mesh::EMBEDDED,
};

/// Lists without a user are of all users then, and what is about one user is about the caller.
#[tokio::test]
async fn who_sees_everything_has_an_account_too() -> Result<()> {
    let issuer = Issuer::start().await?;
    let (mesh, orders) = mesh(&issuer, EMBEDDED).await?;
    let all = format!("{ALL} admin:read");
    let token = issuer.token("first", &claims("alice", &all, 3_600)).await?;
    let mut payments = PaymentsServiceClient::connect(format!("http://{}", mesh.payments)).await?;
    let account = payments.get_account(with(GetAccountRequest::default(), &token)?).await?.into_inner();
    ensure!(account.user_id == "alice", "{account:?}");
    let listed = payments.list_ledger_entries(with(ListLedgerEntriesRequest::default(), &token)?);
    let entries = listed.await?.into_inner().entries;
    ensure!(!entries.is_empty() && entries.iter().all(|entry| entry.user_id == "alice"), "{entries:?}");
    let mut client = OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?;
    let listed = client.list_orders(with(ListOrdersRequest::default(), &token)?).await?.into_inner();
    ensure!(listed.orders.len() == orders.len(), "{listed:?}");
    Ok(())
}
