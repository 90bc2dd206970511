//! A database server that is stopped: whoever asks is told at once, and is served again soon after its return.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ordermesh::{
    orders::v1::{
        CreateOrderRequest, GetOrderRequest, ListOrdersRequest, Order, WatchOrderRequest,
        orders_service_client::OrdersServiceClient,
    },
    payments::v1::{GetAccountRequest, TopUpAccountRequest, payments_service_client::PaymentsServiceClient},
};
use serde_json::json;
use tokio::time::Instant;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;
use world::{Answer, PATIENCE, Postgres, eventually};

use crate::mesh::{APART, Arrangement, Mesh};

const CALLS: usize = 20;
/// For the median of them.
const AT_ONCE: Duration = Duration::from_millis(100);
/// From the start of the server until all is served.
const AGAIN: Duration = Duration::from_secs(2);
/// Rounds until a time must have been within its bound: what the machine does comes and goes, what the services do comes in each.
const ROUNDS: usize = 3;
/// How long the server is away.
const OUTAGE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn who_asks_is_told_at_once_and_served_again_soon() -> Result<()> {
    let mut mesh = Mesh::start(Arrangement { rabbitmq: false, apart: false, ..APART }).await?;
    mesh.account("alice", 1_000).await?;
    let id = mesh.order("alice", 1).await?;
    mesh.ended(&id).await?;

    let clients = Clients {
        orders: OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?,
        payments: PaymentsServiceClient::connect(format!("http://{}", mesh.payments)).await?,
        order_id: id.clone(),
    };

    let mut postgres = mesh.postgres.take().context("a mesh on PostgreSQL")?;
    postgres.stop().await?;
    for (kind, call) in ASKED.iter().enumerate() {
        // The first may find that a connection has ended, of which it cannot know whether a commit went with it.
        eventually("the end of the connections", PATIENCE, async || clients.is_away(kind).await).await?;
        at_once(call, async || clients.is_away(kind).await).await?;
    }
    // The edge repeats what is safe to repeat.
    at_once("an order, at the edge", async || is_away(mesh.api.get(&format!("/gateway/orders/{id}")).await?))
        .await?;
    at_once("a top-up with a key, at the edge", async || {
        let top_up = json!({ "amount": 1, "requestId": "again" });
        is_away(mesh.api.post("/gateway/payments/alice/top-up", &top_up).await?)
    })
    .await?;

    let mut took = vec![served_again(&mut postgres, &clients).await?];
    while took.last().is_none_or(|took| *took >= AGAIN) {
        ensure!(took.len() < ROUNDS, "served again after {took:?}");
        postgres.stop().await?;
        eventually("the end of the connections", PATIENCE, async || clients.is_away(0).await).await?;
        took.push(served_again(&mut postgres, &clients).await?);
    }
    drop(mesh);
    postgres.stop().await
}

/// What is done again and again says so once when it begins to fail, and once when it works again.
#[tokio::test]
async fn an_outage_is_logged_when_it_begins_and_when_it_ends() -> Result<()> {
    let often = [("RECONCILE_EVERY", "200ms"), ("RECONCILE_SETTLE", "700ms")];
    let env = often.map(|(name, value)| (name, value.to_owned()));
    let mut mesh = Mesh::start_with(Arrangement { rabbitmq: false, apart: false, ..APART }, &env).await?;
    mesh.account("alice", 1_000).await?;
    mesh.ended(&mesh.order("alice", 1).await?).await?;
    let mut postgres = mesh.postgres.take().context("a mesh on PostgreSQL")?;
    postgres.stop().await?;
    // Long enough for many attempts at everything.
    tokio::time::sleep(OUTAGE).await;
    postgres.start_again().await?;
    for (begins, ends) in [
        ("cannot compare orders with payments", "orders and payments are compared again"),
        ("cannot look for orders that were not decided", "orders that were not decided are looked for again"),
        ("cannot read the changes of orders", "the changes of orders are read again"),
    ] {
        mesh.processes[0].line_with(ends).await?;
        let output = mesh.processes[0].output();
        let counts = [begins, ends].map(|words| output.matches(words).count());
        ensure!(counts == [1, 1], "{counts:?} of {begins:?} and {ends:?}\n{output}");
    }
    drop(mesh);
    postgres.stop().await
}

/// How long it takes from the start of the server until each kind of call is answered.
async fn served_again(postgres: &mut Postgres, clients: &Clients) -> Result<Duration> {
    postgres.start_again().await?;
    let back = Instant::now();
    for (kind, call) in ASKED.iter().enumerate() {
        eventually(call, PATIENCE, async || clients.ask(kind).await).await?;
    }
    Ok(back.elapsed())
}

/// Makes a call again and again: half of the answers come within 0.1 s.
async fn at_once(call: &str, made: impl AsyncFn() -> Result<()>) -> Result<()> {
    let mut medians: Vec<Duration> = Vec::new();
    while medians.last().is_none_or(|median| *median >= AT_ONCE) {
        ensure!(medians.len() < ROUNDS, "{call}: {medians:?}");
        let mut took = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let began = Instant::now();
            made().await.with_context(|| call.to_owned())?;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        medians.push(took[CALLS / 2]);
    }
    Ok(())
}

fn is_away(answer: Answer) -> Result<()> {
    ensure!(
        answer.status == 503 && answer.text.contains("STORAGE_UNAVAILABLE"),
        "{} {}",
        answer.status,
        answer.text
    );
    Ok(())
}

/// The kinds of calls.
const ASKED: [&str; 7] = [
    "an order",
    "a top-up",
    "a look at an order",
    "a top-up with a key",
    "a list of orders",
    "a watch of an order",
    "a look at an account",
];

/// Calls the services themselves: the edge repeats what is safe to repeat, after a pause.
struct Clients {
    orders: OrdersServiceClient<Channel>,
    payments: PaymentsServiceClient<Channel>,
    order_id: String,
}

impl Clients {
    async fn ask(&self, kind: usize) -> Result<(), Status> {
        let (mut orders, mut payments) = (self.orders.clone(), self.payments.clone());
        let user_id = "alice".to_owned();
        match kind {
            0 => {
                let order = Some(Order { user_id, amount: 1, ..Order::default() });
                orders
                    .create_order(CreateOrderRequest { order, ..CreateOrderRequest::default() })
                    .await
                    .map(drop)
            }
            1 => {
                let asked = TopUpAccountRequest { user_id, amount: 1, ..TopUpAccountRequest::default() };
                payments.top_up_account(asked).await.map(drop)
            }
            3 => {
                let request_id = "again".to_owned();
                let asked = TopUpAccountRequest { user_id, amount: 1, request_id, ..Default::default() };
                payments.top_up_account(asked).await.map(drop)
            }
            4 => orders.list_orders(ListOrdersRequest { user_id, ..Default::default() }).await.map(drop),
            5 => {
                let order_id = self.order_id.clone();
                let watch = orders.watch_order(WatchOrderRequest { order_id, ..Default::default() }).await?;
                watch.into_inner().message().await.map(drop)
            }
            2 => orders.get_order(GetOrderRequest { order_id: self.order_id.clone() }).await.map(drop),
            _ => payments.get_account(GetAccountRequest { user_id }).await.map(drop),
        }
    }

    async fn is_away(&self, kind: usize) -> Result<()> {
        let status = self.ask(kind).await.err().context("it was answered without a database")?;
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.as_str());
        ensure!(status.code() == Code::Unavailable && reason == Some("STORAGE_UNAVAILABLE"), "{status:?}");
        Ok(())
    }
}
