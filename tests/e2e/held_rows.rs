//! A row that somebody holds keeps nobody else waiting, and nothing is applied for a caller who has stopped waiting for it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use ordermesh::{
    orders::v1::{CancelOrderRequest, CreateOrderRequest, Order, orders_service_client::OrdersServiceClient},
    payments::v1::{TopUpAccountRequest, payments_service_client::PaymentsServiceClient},
};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, TransactionTrait as _};
use serde_json::json;
use tokio::{
    join,
    time::{Instant, sleep},
    try_join,
};
use tonic::{Code, Request, Status, transport::Channel};
use world::{PATIENCE, eventually};

use crate::{
    mesh::{APART, Arrangement, Mesh},
    scrape::Scrape,
};

const ON_POSTGRES: Arrangement = Arrangement { rabbitmq: false, apart: false, ..APART };
const USERS: usize = 200;
const HELD: &str = "user-100";
/// Of a caller who waits for the row that is held.
const DEADLINE: Duration = Duration::from_secs(3);
/// For the others, beyond what they take while nothing is held.
const SOON: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_held_account_delays_no_other_top_up() -> Result<()> {
    let mesh = Mesh::start(ON_POSTGRES).await?;
    let client = PaymentsServiceClient::connect(format!("http://{}", mesh.payments)).await?;
    let users: Vec<String> = (0..USERS).map(|user| format!("user-{user}")).collect();
    try_join_all(users.iter().map(async |user| {
        let opened = mesh.api.post("/gateway/payments", &json!({ "userId": user })).await?;
        ensure!(opened.status == 200, "{}", opened.text);
        Ok(())
    }))
    .await?;
    let alone = slowest(try_join_all(users.iter().map(|user| top_up(&client, user, None))).await?);

    let operator = Database::connect(mesh.database_url("payments")).await?;
    let holder = operator.begin().await?;
    holder.execute_unprepared(&format!("SELECT 1 FROM accounts WHERE user_id = '{HELD}' FOR UPDATE")).await?;
    let others = users.iter().filter(|user| *user != HELD);
    let others = try_join_all(others.map(|user| top_up(&client, user, None)));
    let began = Instant::now();
    let (others, short, long) =
        join!(others, outcome(top_up(&client, HELD, Some(DEADLINE))), outcome(top_up(&client, HELD, None)));
    let took = slowest(others?);
    ensure!(took < alone + SOON, "a top-up of another account took {took:?}, and {alone:?} before");
    let (status, took) = short;
    let status = status.err().context("it was answered while the account was held")?;
    ensure!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    ensure!(took < DEADLINE + SOON, "the error came after {took:?}");
    let (status, took) = long;
    let status = status.err().context("it was answered while the account was held")?;
    // As long as any lock is waited for.
    ensure!(status.code() == Code::Aborted, "{status:?}");
    ensure!(took < Duration::from_secs(5) + SOON, "the error came after {took:?}");
    ensure!(began.elapsed() > DEADLINE);
    holder.rollback().await?;

    // Whatever still waited for the account had it before this one.
    top_up(&client, HELD, None).await?;
    ensure!(mesh.balance(HELD).await? == 20, "what had failed was booked later");
    let sum = mesh.count("payments", "SELECT SUM(balance)::bigint FROM accounts").await?;
    ensure!(sum == i64::try_from(USERS * 20)?, "{sum}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_held_key_delays_no_other_order() -> Result<()> {
    let mesh = Mesh::start(ON_POSTGRES).await?;
    let client = OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?;
    place(&client, "held", None).await?;
    let free: Vec<String> = (0..USERS).map(|key| format!("free-{key}")).collect();
    let alone = slowest(try_join_all(free.iter().map(|key| place(&client, key, None))).await?);

    // As another process does with the same key, until it commits: whoever comes with it has to wait.
    let operator: DatabaseConnection = Database::connect(mesh.database_url("orders")).await?;
    let holder = operator.begin().await?;
    holder.execute_unprepared("DELETE FROM orders WHERE request_id = 'held'").await?;
    let keys: Vec<String> = (0..USERS).map(|key| format!("key-{key}")).collect();
    let others = try_join_all(keys.iter().map(|key| place(&client, key, None)));
    let (others, held) = join!(others, outcome(place(&client, "held", Some(DEADLINE))));
    let took = slowest(others?);
    ensure!(took < alone + SOON, "another order took {took:?}, and {alone:?} before");
    let (status, took) = held;
    let status = status.err().context("it was answered while its key was held")?;
    ensure!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    ensure!(took < DEADLINE + SOON, "the error came after {took:?}");
    // Behind it on the same connection: the service knows by now that nobody waits for the other one.
    place(&client, "behind", None).await?;
    holder.commit().await?;

    // Whatever still waited for the key had it before this one.
    place(&client, "last", None).await?;
    let late = mesh.count("orders", "SELECT COUNT(*) FROM orders WHERE request_id = 'held'").await?;
    ensure!(late == 0, "what had failed was stored later");
    let stored = mesh.count("orders", "SELECT COUNT(*) FROM orders").await?;
    ensure!(stored == i64::try_from(2 * USERS)? + 2, "{stored}");
    a_cancellation_that_nobody_waits_for_is_not_made(&mesh, &client).await
}

/// Of an order whose row somebody holds for longer than its caller waits.
async fn a_cancellation_that_nobody_waits_for_is_not_made(
    mesh: &Mesh,
    client: &OrdersServiceClient<Channel>,
) -> Result<()> {
    // The order stays NEW.
    let undecided = Database::connect(mesh.database_url("payments")).await?.begin().await?;
    undecided.execute_unprepared("LOCK TABLE payments IN SHARE ROW EXCLUSIVE MODE").await?;
    let id = mesh.order("bob", 1).await?;
    let holder = Database::connect(mesh.database_url("orders")).await?.begin().await?;
    let held = format!("SELECT 1 FROM orders WHERE id = '{id}' FOR UPDATE");
    holder.execute_unprepared(&held).await?;
    let asked = CancelOrderRequest { order_id: id.clone(), ..CancelOrderRequest::default() };
    let cancelled = client.clone().cancel_order(within(asked, Some(Duration::from_secs(1)))).await;
    let status = cancelled.err().context("it was answered while the order was held")?;
    ensure!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    // Behind it on the same connection: the service knows by now that nobody waits for it.
    place(client, "after", None).await?;
    holder.rollback().await?;
    // Whatever still waited for the order had it before this one.
    mesh.tamper("orders", &held).await?;
    undecided.rollback().await?;
    let order = mesh.ended(&id).await?;
    ensure!(order["cancelRequestTime"].is_null() && order["version"] == "2", "{order}");
    Ok(())
}

/// How long the account is held in all, which is longer than anything that bounds a wait, and how long orders are paid meanwhile. Then nothing
/// happens for longer than what nobody refreshes is shown.
const HELD_FOR: Duration = Duration::from_secs(20);
const PAID_FOR: Duration = Duration::from_secs(8);

/// All accounts share one partition, as they do by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_held_account_delays_no_other_order() -> Result<()> {
    let mesh = Mesh::start(APART).await?;
    let users: Vec<String> = (80..120).map(|user| format!("user-{user}")).collect();
    try_join_all(users.iter().map(|user| mesh.account(user, 1_000))).await?;
    let (first, ..) = try_join!(mesh.order(HELD, 1), mesh.order("user-80", 1))?;
    mesh.ended(&first).await?;
    let alone = order_of_each(&mesh, &users).await?;

    let operator = Database::connect(mesh.database_url("payments")).await?;
    let holder = operator.begin().await?;
    holder.execute_unprepared(&format!("SELECT 1 FROM accounts WHERE user_id = '{HELD}' FOR UPDATE")).await?;
    let began = Instant::now();
    let mut held = Vec::new();
    while began.elapsed() < PAID_FOR {
        held.push(mesh.order(HELD, 1).await?);
        let took = order_of_each(&mesh, &users).await?;
        ensure!(took < alone + SOON, "an order of another account took {took:?}, and {alone:?} before");
    }
    // A gauge that was seen once and is not set again would not be shown after the wait.
    drop(Scrape::of(mesh.admin("payments")?).await?);
    sleep(HELD_FOR.saturating_sub(began.elapsed())).await;
    let waiting = Scrape::of(mesh.admin("payments")?).await?;
    let waiting =
        waiting.number("messaging_waiting_messages", &[("consumer", "payments"), ("part", "consumer.0")])?;
    ensure!(waiting == held.len() as f64, "{waiting} messages wait, not {}", held.len());
    let ready = mesh.admin("payments")?.get("/readyz").await?;
    let why = ready.body["parts"]["payments.consumer.0"].as_str().unwrap_or_default();
    ensure!(ready.status == 200 && why.contains("lock timeout"), "{}", ready.text);
    for order in &held {
        let order = mesh.api.get(&format!("/gateway/orders/{order}")).await?;
        ensure!(order.body["status"] == "NEW", "{}", order.text);
    }

    holder.rollback().await?;
    let released = Instant::now();
    let mut entries = Vec::new();
    for order in &held {
        let order = mesh.ended(order).await?;
        ensure!(order["status"] == "FINISHED", "{order}");
        entries.push(order["ledgerEntryId"].as_str().context("an entry")?.to_owned());
    }
    let took = released.elapsed();
    ensure!(took < alone + SOON, "the held orders took {took:?}");
    // UUIDv7: they were decided about in the order in which they were placed.
    ensure!(entries.is_sorted(), "{entries:?}");
    eventually("a consumer that is well", PATIENCE, async || {
        let ready = mesh.admin("payments")?.get("/readyz").await?;
        ensure!(ready.body["states"]["payments.consumer.0"] == "ok", "{}", ready.text);
        Ok(())
    })
    .await?;
    mesh.at_rest().await
}

/// How long the slowest takes of an order of each user but [`HELD`], all at once, until it is paid.
async fn order_of_each(mesh: &Mesh, users: &[String]) -> Result<Duration> {
    let others = users.iter().filter(|user| *user != HELD);
    let took = try_join_all(others.map(async |user| {
        let placed = Instant::now();
        let order = mesh.ended(&mesh.order(user, 1).await?).await?;
        ensure!(order["status"] == "FINISHED", "{order}");
        Ok(placed.elapsed())
    }));
    Ok(slowest(took.await?))
}

/// The longest of these times.
fn slowest(times: Vec<Duration>) -> Duration {
    times.into_iter().max().unwrap_or_default()
}

/// What a call ended with, and how long it took.
async fn outcome<T>(call: impl Future<Output = Result<T, Status>>) -> (Result<T, Status>, Duration) {
    let began = Instant::now();
    let outcome = call.await;
    (outcome, began.elapsed())
}

async fn top_up(
    client: &PaymentsServiceClient<Channel>,
    user: &str,
    timeout: Option<Duration>,
) -> Result<Duration, Status> {
    let asked =
        TopUpAccountRequest { user_id: user.to_owned(), amount: 10, ..TopUpAccountRequest::default() };
    let began = Instant::now();
    client.clone().top_up_account(within(asked, timeout)).await?;
    Ok(began.elapsed())
}

async fn place(
    client: &OrdersServiceClient<Channel>,
    key: &str,
    timeout: Option<Duration>,
) -> Result<Duration, Status> {
    let order = Order { user_id: "alice".to_owned(), amount: 1, ..Order::default() };
    let asked = CreateOrderRequest { order: Some(order), request_id: key.to_owned() };
    let began = Instant::now();
    client.clone().create_order(within(asked, timeout)).await?;
    Ok(began.elapsed())
}

fn within<T>(asked: T, timeout: Option<Duration>) -> Request<T> {
    let mut request = Request::new(asked);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}
