//! The database of orders moves to another server, whose transaction ids are smaller: whoever watches goes on watching, and nothing old is
//! shown as new.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::TryStreamExt as _;
use ordermesh::orders::v1::{
    CancelOrderRequest, CreateOrderRequest, Order, OrderEvent, WatchOrderRequest, WatchOrdersRequest,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tonic::Streaming;
use world::{PATIENCE, Postgres, eventually};

use crate::alone::{self, NO_BROKER, Orders, number, place, run};

/// Transaction ids that the first server is ahead.
const AHEAD: i64 = 3_000;

/// A port that leads to a server, and later to another one.
struct Door {
    address: SocketAddr,
    leads_to: watch::Sender<SocketAddr>,
}

impl Door {
    async fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (leads_to, servers) = watch::channel(server);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut servers = servers.clone();
                tokio::spawn(async move {
                    let server = *servers.borrow_and_update();
                    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut upstream) => {}
                        _ = servers.changed() => {}
                    }
                });
            }
        });
        Ok(Self { address, leads_to })
    }
}

fn address(postgres: &Postgres) -> Result<SocketAddr> {
    let url = postgres.url("orders");
    let address = url.split(['@', '/']).nth(3).context("a URL has an address")?;
    Ok(address.parse()?)
}

/// Uses up transaction ids.
async fn advance(postgres: &Postgres, ids: i64) -> Result<()> {
    let burn = format!(
        "DO $$ BEGIN FOR number IN 1..{ids} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
    );
    run(&postgres.url("orders"), &burn).await
}

#[tokio::test]
async fn watchers_go_on_at_a_server_with_smaller_transaction_ids() -> Result<()> {
    let (one, other) = (Postgres::start().await?, Postgres::start().await?);
    for postgres in [&one, &other] {
        postgres.create_database("orders").await?;
    }
    advance(&one, AHEAD).await?;
    let door = Door::to(address(&one)?).await?;
    let url = format!("postgres://postgres@{}/orders", door.address);
    let mut process = alone::program("orders", &url, NO_BROKER)?.start()?;
    let mut client = alone::orders(&mut process).await?;
    let mut board = client.watch_orders(WatchOrdersRequest::default()).await?.into_inner();
    let mut old = Vec::new();
    for _ in 0..5 {
        let id = place(&mut client, "alice").await?;
        ensure!(next(&mut board).await? == (id.clone(), 1));
        old.push(id);
    }
    let mut watched = watch_one(&mut client, &old[0]).await?;

    other.restore(&one.dump("orders").await?, "orders").await?;
    door.leads_to.send(address(&other)?)?;
    let new = patiently(&client, "new").await?;
    ensure!(next(&mut board).await? == (new, 1), "the board goes on");
    let cancelled = async || cancel(&mut client.clone(), &old[0]).await;
    eventually("a cancellation on the other server", PATIENCE, cancelled).await?;
    ensure!(next(&mut watched).await? == (old[0].clone(), 2), "the watch goes on");
    ensure!(next(&mut board).await? == (old[0].clone(), 2), "the board shows it too");

    // The other server comes to the numbers that the first one had given, step by step.
    for step in 0..20 {
        advance(&other, AHEAD / 10).await?;
        let id = patiently(&client, &format!("step-{step}")).await?;
        ensure!(next(&mut board).await? == (id, 1), "what is old was shown as new");
    }
    let (before, after) =
        (number(&one.url("orders"), NEXT).await?, number(&other.url("orders"), NEXT).await?);
    ensure!(after > before, "{after} ids have not passed {before}");
    Ok(())
}

/// Places an order: calls fail until each connection to the first server is given up, and with a key they can be repeated.
async fn patiently(client: &Orders, key: &str) -> Result<String> {
    eventually("an order on the other server", PATIENCE, async || {
        let order = Order { user_id: "alice".into(), amount: 1, ..Order::default() };
        let request = CreateOrderRequest { order: Some(order), request_id: key.to_owned() };
        Ok::<_, tonic::Status>(client.clone().create_order(request).await?.into_inner().id)
    })
    .await
}

const NEXT: &str = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";

#[tokio::test]
async fn a_second_cancellation_is_shown_to_nobody() -> Result<()> {
    let postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    let mut process = alone::program("orders", &url, NO_BROKER)?.start()?;
    let mut client = alone::orders(&mut process).await?;
    let mut board = client.watch_orders(WatchOrdersRequest::default()).await?.into_inner();
    let id = place(&mut client, "alice").await?;
    ensure!(next(&mut board).await? == (id.clone(), 1));
    cancel(&mut client, &id).await?;
    ensure!(next(&mut board).await? == (id.clone(), 2));
    for _ in 0..3 {
        // Once this one is shown, all changes before it were read.
        let other = place(&mut client, "alice").await?;
        ensure!(next(&mut board).await? == (other, 1), "a version was shown twice");
        cancel(&mut client, &id).await?;
    }
    Ok(())
}

async fn cancel(client: &mut Orders, id: &str) -> Result<()> {
    client
        .cancel_order(CancelOrderRequest { order_id: id.to_owned(), ..CancelOrderRequest::default() })
        .await?;
    Ok(())
}

async fn watch_one(client: &mut Orders, id: &str) -> Result<Streaming<OrderEvent>> {
    let request = WatchOrderRequest { order_id: id.to_owned(), after_version: 1 };
    Ok(client.watch_order(request).await?.into_inner())
}

/// The id and the version of what comes next.
async fn next(events: &mut Streaming<OrderEvent>) -> Result<(String, i64)> {
    let event = timeout(Duration::from_secs(20), events.try_next()).await.context("no event came")??;
    let order = event.and_then(|event| event.order).context("the watch has ended")?;
    Ok((order.id, order.version))
}
