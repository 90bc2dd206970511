//! Watching orders: what has been, then what comes, every version once and in order, through whichever process (I12).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ordermesh::orders::v1::{
    CancelOrderRequest, CreateOrderRequest, Order, OrderEvent, WatchOrderRequest, WatchOrdersRequest,
    order::Status, orders_service_client::OrdersServiceClient,
};
use reqwest::Method;
use tokio::time::timeout;
use tonic::{Streaming, transport::Channel};
use world::{PATIENCE, Postgres, Process, Program, RabbitMq, answer};

use crate::mesh::{EMBEDDED, Mesh};

type Client = OrdersServiceClient<Channel>;

#[tokio::test]
async fn a_watcher_that_reconnects_misses_and_repeats_nothing() -> Result<()> {
    let (postgres, rabbitmq) = (Postgres::start().await?, RabbitMq::shared().await?);
    let start = |service: &'static str, url: String| {
        let program = Program::named(service)?
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("DATABASE_URL", url)
            .env("AMQP_URL", rabbitmq.amqp_url());
        program.start()
    };
    // Two processes on one database: what one does is watched through the other.
    let url = postgres.fresh_database().await?;
    let (mut one, mut other) = (start("orders", url.clone())?, start("orders", url)?);
    let (mut doer, mut watcher) = (client(&mut one).await?, client(&mut other).await?);

    let order = Order { user_id: "alice".into(), amount: 5, ..Order::default() };
    let request = CreateOrderRequest { order: Some(order), ..CreateOrderRequest::default() };
    let id = doer.create_order(request).await?.into_inner().id;
    let mut seen = vec![next(&mut watch(&mut watcher, &id, 0).await?).await?];
    for _ in 0..7 {
        // Each of these is cut off before anything comes.
        drop(watch(&mut watcher, &id, 1).await?);
    }
    let mut waiting = watch(&mut watcher, &id, 1).await?;
    doer.cancel_order(CancelOrderRequest { order_id: id.clone(), ..CancelOrderRequest::default() }).await?;
    seen.push(next(&mut waiting).await?);
    for after in [0, 1, 0, 1, 0] {
        // What was before comes again only to who asks for it.
        let again = next(&mut watch(&mut watcher, &id, after).await?).await?;
        ensure!(again == seen[usize::try_from(after)?], "{again:?}");
    }
    let mut waiting = watch(&mut watcher, &id, 2).await?;
    let mut payments = start("payments", postgres.fresh_database().await?)?;
    payments.address("payments-grpc").await?;
    seen.push(next(&mut waiting).await?);
    ensure!(timeout(PATIENCE, waiting.try_next()).await??.is_none(), "the terminal event is the last");
    for after in 0..5 {
        let rest: Vec<OrderEvent> = watch(&mut watcher, &id, after).await?.try_collect().await?;
        let expected: Vec<OrderEvent> = seen.iter().skip(usize::try_from(after)?).cloned().collect();
        ensure!(rest == expected, "after {after}: {rest:?}");
    }
    let versions: Vec<_> =
        seen.iter().filter_map(|event| event.order.as_ref()).map(|order| order.version).collect();
    ensure!(versions == [1, 2, 3], "{versions:?}");
    let absent =
        watcher.watch_order(WatchOrderRequest { order_id: "nothing".into(), after_version: 0 }).await;
    ensure!(absent.is_err_and(|status| status.code() == tonic::Code::NotFound));
    Ok(())
}

async fn client(process: &mut Process) -> Result<Client> {
    Ok(Client::connect(format!("http://{}", process.address("orders-grpc").await?)).await?)
}

async fn watch(client: &mut Client, id: &str, after_version: i64) -> Result<Streaming<OrderEvent>> {
    let request = WatchOrderRequest { order_id: id.to_owned(), after_version };
    Ok(client.watch_order(request).await?.into_inner())
}

async fn next(events: &mut Streaming<OrderEvent>) -> Result<OrderEvent> {
    timeout(PATIENCE, events.try_next()).await.context("no event came")??.context("the watch has ended")
}

#[tokio::test]
async fn a_slow_board_sees_the_end_of_every_order() -> Result<()> {
    const ORDERS: usize = 400;
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 1_000).await?;
    let mut client = Client::connect(format!("http://{}", mesh.orders)).await?;
    let request = WatchOrdersRequest { user_id: "alice".into(), ..WatchOrdersRequest::default() };
    let mut board = client.watch_orders(request).await?.into_inner();
    // Nothing is read from the board until all of this is over.
    let ended = stream::iter(0..ORDERS).map(|_| async {
        let id = mesh.order("alice", 1).await?;
        mesh.ended(&id).await
    });
    let ended: Vec<_> = ended.buffer_unordered(16).try_collect().await?;
    mesh.order("bob", 1).await?;

    let mut versions: BTreeMap<String, i64> = BTreeMap::new();
    let mut finished = 0;
    while finished < ended.len() {
        let order = next(&mut board).await?.order.context("an event has an order")?;
        ensure!(order.user_id == "alice", "{order:?}");
        let before = versions.insert(order.id.clone(), order.version).unwrap_or_default();
        ensure!(order.version > before, "{order:?} came after version {before}");
        finished += usize::from(order.status() == Status::Finished);
    }
    mesh.at_rest().await
}

#[tokio::test]
async fn a_watch_over_http_resumes() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 10).await?;
    let id = mesh.order("alice", 10).await?;
    let path = format!("/gateway/orders/{id}:watch");
    let all = mesh.api.get(&path).await?;
    ensure!(all.header("content-type") == Some("text/event-stream"), "{}", all.text);
    ensure!(all.text.contains("id: 1\n") && all.text.contains("id: 2\n"), "{}", all.text);
    ensure!(
        all.text.contains("\"FINISHED\"") && all.text.ends_with("id: 2\nevent: end\ndata: {}\n\n"),
        "{}",
        all.text
    );
    let resumed = answer(mesh.api.request(Method::GET, &path).header("last-event-id", "1")).await?;
    ensure!(!resumed.text.contains("id: 1\n") && resumed.text.contains("id: 2\n"), "{}", resumed.text);
    // Nothing more can follow: a browser does not come again.
    let ended = answer(mesh.api.request(Method::GET, &path).header("last-event-id", "2")).await?;
    ensure!(ended.status == 204 && ended.text.is_empty(), "{} {}", ended.status, ended.text);
    mesh.at_rest().await
}
