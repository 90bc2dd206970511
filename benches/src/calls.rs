//! CreateOrder over gRPC: how many are acknowledged, by callers that each wait for their answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::future::try_join_all;
use ordermesh::orders::v1::{CreateOrderRequest, Order, orders_service_client::OrdersServiceClient};

use crate::{arrangement::Stage, load};

/// Connections of the callers; several share one, as callers in a process do.
const CONNECTIONS: usize = 4;

/// Orders acknowledged per second while the broker is away: what is written is what pgbench writes, an order and a message that stays. They
/// are all paid before it returns.
pub(crate) async fn acknowledged_alone(
    stage: &mut Stage,
    callers: usize,
    accounts: usize,
    time: Duration,
) -> Result<f64> {
    stage.rabbitmq()?.stop().await?;
    let rate = place(stage, callers, accounts, time).await?;
    stage.rabbitmq()?.start_again().await?;
    load::drained(stage).await?;
    Ok(rate)
}

/// Orders acknowledged per second while they are being paid. All of them are before it returns.
pub(crate) async fn acknowledged(
    stage: &Stage,
    callers: usize,
    accounts: usize,
    time: Duration,
) -> Result<f64> {
    let rate = place(stage, callers, accounts, time).await?;
    load::drained(stage).await?;
    Ok(rate)
}

async fn place(stage: &Stage, callers: usize, accounts: usize, time: Duration) -> Result<f64> {
    let url = format!("http://{}", stage.orders);
    let clients = try_join_all((0..CONNECTIONS).map(|_| OrdersServiceClient::connect(url.clone()))).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let calls = (0..callers).map(|caller| {
        let (mut client, next) = (clients[caller % CONNECTIONS].clone(), Arc::clone(&next));
        async move {
            let mut acknowledged = 0_u32;
            while began.elapsed() < time {
                let user_id = load::user(next.fetch_add(1, Ordering::Relaxed) % accounts);
                let order = Order { user_id, amount: 7, description: "bench".into(), ..Order::default() };
                let request = CreateOrderRequest { order: Some(order), request_id: String::new() };
                client.create_order(request).await?;
                acknowledged += 1;
            }
            anyhow::Ok(acknowledged)
        }
    });
    let acknowledged: u32 = try_join_all(calls).await?.into_iter().sum();
    Ok(f64::from(acknowledged) / began.elapsed().as_secs_f64())
}
