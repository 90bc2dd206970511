//! A row that somebody holds keeps nobody else waiting, and nothing is applied for a caller who has stopped waiting for it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use ordermesh::{
    orders::v1::{CreateOrderRequest, Order, orders_service_client::OrdersServiceClient},
    payments::v1::{TopUpAccountRequest, payments_service_client::PaymentsServiceClient},
};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, TransactionTrait as _};
use serde_json::json;
use tokio::{join, time::Instant};
use tonic::{Code, Request, Status, transport::Channel};

use crate::mesh::{APART, Arrangement, Mesh};

const ON_POSTGRES: Arrangement = Arrangement { rabbitmq: false, apart: false, ..APART };
const USERS: usize = 200;
const HELD: &str = "user-100";
/// Of a caller who waits for the row that is held.
const DEADLINE: Duration = Duration::from_secs(3);
/// For the others.
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
    try_join_all(users.iter().map(|user| top_up(&client, user, None))).await?;

    let operator = Database::connect(mesh.database_url("payments")).await?;
    let holder = operator.begin().await?;
    holder.execute_unprepared(&format!("SELECT 1 FROM accounts WHERE user_id = '{HELD}' FOR UPDATE")).await?;
    let others = users.iter().filter(|user| *user != HELD);
    let others = try_join_all(others.map(|user| top_up(&client, user, None)));
    let began = Instant::now();
    let (others, short, long) =
        join!(others, outcome(top_up(&client, HELD, Some(DEADLINE))), outcome(top_up(&client, HELD, None)));
    for took in others? {
        ensure!(took < SOON, "a top-up of another account took {took:?}");
    }
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

    // As another process does with the same key, until it commits: whoever comes with it has to wait.
    let operator: DatabaseConnection = Database::connect(mesh.database_url("orders")).await?;
    let holder = operator.begin().await?;
    holder.execute_unprepared("DELETE FROM orders WHERE request_id = 'held'").await?;
    let keys: Vec<String> = (0..USERS).map(|key| format!("key-{key}")).collect();
    let others = try_join_all(keys.iter().map(|key| place(&client, key, None)));
    let (others, held) = join!(others, outcome(place(&client, "held", Some(DEADLINE))));
    for took in others? {
        ensure!(took < SOON, "another order took {took:?}");
    }
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
    ensure!(stored == i64::try_from(USERS)? + 2, "{stored}");
    Ok(())
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
