//! CreateOrder over gRPC: how many are acknowledged, by callers that each wait for their answer.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::{Bytes, BytesMut};
use futures_util::future::try_join_all;
use h2::client::SendRequest;
use http::Request;
use ordermesh::orders::v1::{CreateOrderRequest, Order};
use prost::Message as _;

use crate::{arrangement::Stage, callers, load};

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
    load::drained(&stage.callers, load::DRAIN).await?;
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
    load::drained(&stage.callers, load::DRAIN).await?;
    Ok(rate)
}

async fn place(stage: &Stage, callers: usize, accounts: usize, time: Duration) -> Result<f64> {
    let connections = try_join_all((0..CONNECTIONS).map(|_| connect(stage.orders))).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let calls = (0..callers).map(|caller| {
        let (mut connection, next) = (connections[caller % CONNECTIONS].clone(), Arc::clone(&next));
        async move {
            let mut acknowledged = 0_u32;
            while began.elapsed() < time {
                let user_id = callers::user(next.fetch_add(1, Ordering::Relaxed) % accounts);
                let order = Order { user_id, amount: 7, description: "bench".into(), ..Order::default() };
                let request = CreateOrderRequest { order: Some(order), request_id: String::new() };
                create_order(&mut connection, &request).await?;
                acknowledged += 1;
            }
            anyhow::Ok(acknowledged)
        }
    });
    let acknowledged: u32 = try_join_all(calls).await?.into_iter().sum();
    Ok(f64::from(acknowledged) / began.elapsed().as_secs_f64())
}

type Connection = SendRequest<Bytes>;

async fn connect(orders: SocketAddr) -> Result<Connection> {
    let (sender, connection) = h2::client::handshake(callers::open(orders).await?).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// One call, and no more work for it than pgbench has with a transaction: the order of the answer is not read.
async fn create_order(connection: &mut Connection, request: &CreateOrderRequest) -> Result<()> {
    let mut frame = BytesMut::from(&[0; 5][..]);
    request.encode(&mut frame)?;
    let length = u32::try_from(frame.len() - 5)?;
    frame[1..5].copy_from_slice(&length.to_be_bytes());
    let head = Request::post("http://bench/ordermesh.orders.v1.OrdersService/CreateOrder")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    poll_fn(|context| connection.poll_ready(context)).await?;
    let (answer, mut body) = connection.send_request(head, false)?;
    body.send_data(frame.freeze(), true)?;
    let mut answer = answer.await?.into_body();
    let mut length = 0;
    while let Some(data) = answer.data().await.transpose()? {
        length += data.len();
        answer.flow_control().release_capacity(data.len())?;
    }
    let trailers = answer.trailers().await?.unwrap_or_default();
    ensure!(
        length > 5 && trailers.get("grpc-status").is_some_and(|status| status == "0"),
        "refused: {trailers:?}"
    );
    Ok(())
}
