//! Calls that are dropped at random moments leave the connection pool healthy: sqlx's BEGIN is not cancel-safe, so nothing of
//! ours may cancel one. And each of them has one effect, once it was made again with its key.

use std::{ops::Range, time::Duration};

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, future::try_join_all, stream};
use ordermesh::{
    orders::v1::{CreateOrderRequest, GetOrderRequest, Order, orders_service_client::OrdersServiceClient},
    payments::v1::{GetAccountRequest, TopUpAccountRequest, payments_service_client::PaymentsServiceClient},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::timeout;
use tonic::transport::Channel;
use world::{PATIENCE, eventually};

use crate::{
    journal::{Call, Grpc, Journal, Judge, Way, What},
    mesh::{Arrangement, EMBEDDED, Mesh},
};

const CALLS: u64 = 1_000;

const USERS: u64 = 25;
/// So many calls of each user are left before they are answered: a thousand in all.
const LEFT: usize = 40;
/// By when a client that leaves has left, in microseconds: about the time that a call takes while others are made.
const LEAVES: Range<u64> = 0..30_000;

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

/// Clients leave CreateOrder and TopUpAccount at random moments, by every protocol, and come back for the outcome only when all have left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_left_find_one_effect_of_each_call() -> Result<()> {
    let mesh = Mesh::start(Arrangement { postgres: true, ..EMBEDDED }).await?;
    let edge = mesh.api.base();
    let services = Grpc::at(&format!("http://{}", mesh.orders), &format!("http://{}", mesh.payments))?;
    let ways = [Way::Grpc(services), Way::Grpc(Grpc::at(edge, edge)?), Way::Http(mesh.api.clone())];
    let mut journals: Vec<Journal> = (0..USERS).map(|user| Journal::of(format!("user-{user}"))).collect();
    for journal in &mut journals {
        journal.calls[0].make(&journal.user, &ways[0]).await?;
    }

    let leaving = (0..).zip(&mut journals).map(|(user, journal)| leave(journal, &ways, user));
    let left: usize = try_join_all(leaving).await?.iter().sum();
    ensure!(left >= 1_000, "only {left} calls were left");
    let answered =
        journals.iter().flat_map(|journal| &journal.calls[1..]).filter(|call| call.answer.is_some());
    let answered = i64::try_from(answered.count())?;
    let effects = mesh.count("orders", "SELECT COUNT(*) FROM orders").await?
        + mesh.count("payments", "SELECT COUNT(*) FROM ledger_entries WHERE entry_type = 1").await?;
    let unseen = effects - answered;
    eprintln!("{left} calls were left, {unseen} of them with an effect, and {answered} were answered");
    ensure!(
        unseen > 0 && unseen < i64::try_from(left)?,
        "all of them alike: {unseen} of {left} had an effect"
    );

    Judge::of(&mesh, PATIENCE)?.believes(&mut journals).await
}

/// Makes calls of both kinds until so many were left, each of them once; how many those are.
async fn leave(journal: &mut Journal, ways: &[Way; 3], seed: u64) -> Result<usize> {
    let (user, mut random) = (journal.user.clone(), StdRng::seed_from_u64(seed));
    let mut left = 0;
    while left < LEFT {
        let what = if random.random_range(0..3) == 0 { What::TopUp { amount: 250 } } else { What::Place };
        let way = &ways[random.random_range(0..ways.len())];
        let patience = Duration::from_micros(random.random_range(LEAVES));
        for call in journal.add([what]) {
            left += usize::from(is_left(call, &user, way, patience).await?);
        }
    }
    Ok(left)
}

/// Whether its client left before it was answered.
async fn is_left(call: &mut Call, user: &str, way: &Way, patience: Duration) -> Result<bool> {
    let Ok(given) = timeout(patience, call.attempt(user, way)).await else { return Ok(true) };
    call.write_down(given?);
    Ok(false)
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
