//! Calls that are dropped at random moments leave the connection pool healthy: sqlx's BEGIN is not cancel-safe, so nothing of
//! ours may cancel one.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, stream};
use ordermesh::{
    orders::v1::{CreateOrderRequest, GetOrderRequest, Order, orders_service_client::OrdersServiceClient},
    payments::v1::{GetAccountRequest, TopUpAccountRequest, payments_service_client::PaymentsServiceClient},
};
use tokio::time::timeout;
use tonic::transport::Channel;
use world::{PATIENCE, eventually};

use crate::mesh::{Arrangement, EMBEDDED, Mesh};

const CALLS: u64 = 1_000;

#[tokio::test]
async fn a_thousand_dropped_calls_leave_the_pool_healthy() -> Result<()> {
    let mesh = Mesh::start(Arrangement { postgres: true, ..EMBEDDED }).await?;
    mesh.account("alice", 1_000_000).await?;
    let orders = OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?;
    let payments = PaymentsServiceClient::connect(format!("http://{}", mesh.payments)).await?;

    let dropped = stream::iter(0..CALLS)
        .map(|_| {
            let (orders, payments) = (orders.clone(), payments.clone());
            let patience = Duration::from_micros(rand::random_range(0..4_000));
            async move { timeout(patience, call(orders, payments)).await.is_err() }
        })
        .buffer_unordered(32)
        .filter(|dropped| std::future::ready(*dropped))
        .count();
    let dropped = dropped.await;
    ensure!(dropped > 100, "only {dropped} calls were dropped: the test shows nothing");

    eventually("no transaction left open", PATIENCE, async || {
        let open = "SELECT COUNT(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
        let open = mesh.count("orders", open).await?;
        ensure!(open == 0, "{open} connections are idle in a transaction");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    // Every connection of both pools is used again.
    let results = stream::iter(0..100).map(|_| call(orders.clone(), payments.clone())).buffer_unordered(32);
    let failed: Vec<_> = results.filter_map(|result| std::future::ready(result.err())).collect().await;
    ensure!(failed.is_empty(), "{failed:?}");
    eventually("the end of every order", PATIENCE, async || {
        let open = mesh.count("orders", "SELECT COUNT(*) FROM orders WHERE status = 1").await?;
        ensure!(open == 0, "{open} orders are still NEW");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let finished = mesh.count("orders", "SELECT COUNT(*) FROM orders WHERE status = 2").await?;
    let top_ups =
        mesh.count("payments", "SELECT COUNT(*) FROM ledger_entries WHERE entry_type = 1").await? - 1;
    ensure!(mesh.balance("alice").await? == 1_000_000 + top_ups - finished);
    mesh.at_rest().await
}

/// A write and a read of each service.
async fn call(
    mut orders: OrdersServiceClient<Channel>,
    mut payments: PaymentsServiceClient<Channel>,
) -> Result<(), tonic::Status> {
    let order = Order { user_id: "alice".into(), amount: 1, ..Order::default() };
    let request = CreateOrderRequest { order: Some(order), request_id: String::new() };
    let placed = orders.create_order(request).await?.into_inner();
    let top_up = TopUpAccountRequest { user_id: "alice".into(), amount: 1, ..TopUpAccountRequest::default() };
    payments.top_up_account(top_up).await?;
    orders.get_order(GetOrderRequest { order_id: placed.id }).await?;
    payments.get_account(GetAccountRequest { user_id: "alice".into() }).await?;
    Ok(())
}
