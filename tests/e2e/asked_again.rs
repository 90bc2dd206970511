//! Payments is asked again about what it does not decide: what a broker has lost is made good, and an outage piles nothing up.

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lapin::{Connection, ConnectionProperties, options::QueuePurgeOptions};
use ordermesh::{
    orders::v1::{CancelOrderRequest, ListOrdersRequest},
    payments::v1::{Account, CreateAccountRequest, TopUpAccountRequest},
};
use world::{PATIENCE, Postgres, Process, RabbitMq, Scratch, eventually};

use crate::alone::{self, NO_BROKER, Orders, number, place};

const OVERDUE: usize = 1_000;
const LOST: i64 = 50;

async fn place_many(client: &Orders, count: usize) -> Result<()> {
    let placed = stream::iter(0..count).map(|_| {
        let mut client = client.clone();
        async move { place(&mut client, "alice").await }
    });
    placed.buffer_unordered(64).try_collect::<Vec<_>>().await.map(drop)
}

async fn is(what: &str, url: &str, sql: &str, expected: i64) -> Result<()> {
    eventually(what, 3 * PATIENCE, async || {
        let found = number(url, sql).await?;
        ensure!(found == expected, "{found}, not {expected}: {sql}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn an_outage_leaves_one_message_for_each_order_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("outage")?;
    one_message_each(&format!("sqlite:{}", scratch.path().join("orders.db").display())).await
}

#[tokio::test]
async fn an_outage_leaves_one_message_for_each_order_on_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    one_message_each(&postgres.fresh_database().await?).await
}

/// Without a broker nothing leaves the outbox, and orders of two processes on one PostgreSQL are asked about once.
async fn one_message_each(url: &str) -> Result<()> {
    let program = alone::program("orders", url, NO_BROKER)?.env("ORDER_TTL", "1s");
    let mut process = program.start()?;
    let client = alone::orders(&mut process).await?;
    let _second = if url.starts_with("postgres") { Some(program.start()?) } else { None };
    place_many(&client, OVERDUE).await?;
    let expected = i64::try_from(OVERDUE)?;
    for times in [1, 3] {
        // Each time that an order is due it is put off for longer than the time before.
        let put_off =
            format!("SELECT COUNT(*) FROM orders WHERE ask_due_time - expire_time >= {times} * 1000000");
        is("every order to be due after its expiry", url, &put_off, expected).await?;
        let waiting = number(url, "SELECT COUNT(*) FROM outbox").await?;
        ensure!(waiting == expected, "{waiting} messages wait for {OVERDUE} orders");
    }
    Ok(())
}

#[tokio::test]
async fn an_older_process_beside_voids_nothing_early_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("beside")?;
    voids_nothing_early(&format!("sqlite:{}", scratch.path().join("orders.db").display())).await
}

#[tokio::test]
async fn an_older_process_beside_voids_nothing_early_on_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    voids_nothing_early(&postgres.fresh_database().await?).await
}

/// The version before takes `void_due_time` as the time from which on an order is to be voided, and may still run.
async fn voids_nothing_early(url: &str) -> Result<()> {
    let mut process = alone::program("orders", url, NO_BROKER)?.env("ORDER_TTL", "1m").start()?;
    let client = alone::orders(&mut process).await?;
    place_many(&client, 2).await?;
    let order_id =
        client.clone().list_orders(ListOrdersRequest::default()).await?.into_inner().orders.remove(0).id;
    client.clone().cancel_order(CancelOrderRequest { order_id, ..CancelOrderRequest::default() }).await?;
    let asked_again = "SELECT COUNT(*) FROM orders WHERE ask_due_time - create_time > 5000000";
    is("both orders to be asked about again", url, asked_again, 2).await?;
    let as_before = "SELECT COUNT(*) FROM orders WHERE status = 1 AND void_due_time = expire_time";
    ensure!(number(url, as_before).await? == 2, "the version before would void an order before it expires");
    Ok(())
}

#[tokio::test]
async fn what_a_broker_has_lost_is_asked_for_again() -> Result<()> {
    let (postgres, rabbitmq) = (Postgres::start().await?, RabbitMq::shared().await?);
    let (orders_url, payments_url) = (postgres.fresh_database().await?, postgres.fresh_database().await?);
    let orders = alone::program("orders", &orders_url, &rabbitmq.amqp_url())?.env("ORDER_TTL", "3m");
    let payments = alone::program("payments", &payments_url, &rabbitmq.amqp_url())?;
    let (mut of_orders, mut of_payments) = (orders.start()?, payments.start()?);
    let client = alone::orders(&mut of_orders).await?;
    open_account(&mut of_payments).await?;
    // Both have their queues now.
    place_many(&client, 1).await?;
    is("the first order to end", &orders_url, FINISHED, 1).await?;
    let queues = queues(&rabbitmq).await?;

    // The requests are lost: they had left the outbox.
    stop(&mut of_payments).await?;
    place_many(&client, usize::try_from(LOST)?).await?;
    is("the requests to be sent", &orders_url, WAITING, 0).await?;
    ensure!(purge(&rabbitmq, &queues).await? >= LOST, "nothing was lost");
    let mut of_payments = payments.start()?;
    is("orders whose requests were lost to end", &orders_url, FINISHED, 1 + LOST).await?;

    // The answers are lost.
    stop(&mut of_payments).await?;
    place_many(&client, usize::try_from(LOST)?).await?;
    is("the requests to be sent", &orders_url, WAITING, 0).await?;
    stop(&mut of_orders).await?;
    let mut of_payments = payments.start()?;
    is("decisions", &payments_url, "SELECT COUNT(*) FROM payments", 1 + 2 * LOST).await?;
    is("the answers to be sent", &payments_url, WAITING, 0).await?;
    ensure!(purge(&rabbitmq, &queues).await? >= LOST, "nothing was lost");
    let _of_orders = orders.start()?;
    is("orders whose answers were lost to end", &orders_url, FINISHED, 1 + 2 * LOST).await?;

    let debits = "SELECT COUNT(*) FROM ledger_entries WHERE entry_type = 2";
    ensure!(number(&payments_url, debits).await? == 1 + 2 * LOST, "an order was paid twice");
    for url in [&orders_url, &payments_url] {
        ensure!(number(url, "SELECT COUNT(*) FROM parked").await? == 0, "parked");
    }
    of_payments.terminate()
}

const FINISHED: &str = "SELECT COUNT(*) FROM orders WHERE status = 2";
const WAITING: &str = "SELECT COUNT(*) FROM outbox";

async fn open_account(payments: &mut Process) -> Result<()> {
    let mut client = alone::payments(payments).await?;
    let account = Account { user_id: "alice".into(), ..Account::default() };
    client.create_account(CreateAccountRequest { account: Some(account), request_id: String::new() }).await?;
    let request =
        TopUpAccountRequest { user_id: "alice".into(), amount: 1_000, ..TopUpAccountRequest::default() };
    client.top_up_account(request).await?;
    Ok(())
}

async fn stop(process: &mut Process) -> Result<()> {
    process.kill9().await?;
    Ok(())
}

/// The queues that a broker has.
async fn queues(rabbitmq: &RabbitMq) -> Result<Vec<String>> {
    let listed = rabbitmq.control(&["-q", "list_queues", "--no-table-headers", "name"]).await?;
    Ok(listed.lines().map(|line| line.trim().to_owned()).collect())
}

/// Loses every message of these queues, and returns how many those were.
async fn purge(rabbitmq: &RabbitMq, queues: &[String]) -> Result<i64> {
    let connection = Connection::connect(&rabbitmq.amqp_url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut lost = 0;
    for queue in queues {
        lost += i64::from(channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await?);
    }
    connection.close(200, "purged".into()).await?;
    Ok(lost)
}
