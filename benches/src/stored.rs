//! A database that has seen many orders: filled by SQL as the services would have, in seconds instead of minutes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ordermesh::orders::v1::{ListOrdersRequest, orders_service_client::OrdersServiceClient};

use crate::{arrangement::Stage, pace::Times, yardstick::sql};

/// Microseconds since the Unix epoch at which the first of them was placed; one each millisecond.
const FIRST: i64 = 1_700_000_000_000_000;
/// Orders of a page of the walk.
const PAGE_SIZE: i32 = 50;
/// The page that is compared with the first.
const PAGE: usize = 10_000;
/// How often each of the two is read.
const READS: usize = 101;
/// Orders without which there is no such page.
pub(crate) const LEAST: usize = 600_000;

/// UUIDv7 of the `n`th order, entry or message of a kind: the same in both databases.
fn id(kind: &str, n: &str) -> String {
    format!(
        "(lpad(to_hex({FIRST} / 1000 + {n}), 12, '0') || '7' || substr(md5('{kind}' || {n}), 1, 3) \
         || '8' || substr(md5('{kind}' || {n}), 4, 15))::uuid"
    )
}

/// Writes `per_account` finished orders of one minor unit for each of `accounts`, with all that belongs to them. None of them may have any.
pub(crate) async fn fill(stage: &Stage, accounts: usize, per_account: usize) -> Result<()> {
    let (order, entry) = (id("order", "n"), id("entry", "n"));
    let numbers = format!(
        "SELECT account, nth, (nth - 1) * {accounts} + account AS n \
         FROM generate_series(0, {accounts} - 1) AS account, generate_series(1, {per_account}) AS nth ORDER BY n"
    );
    let orders = format!(
        "INSERT INTO orders (id, user_id, amount, currency_code, description, status, create_time, update_time, expire_time,
            void_due_time, version, ledger_entry_id)
         SELECT {order}, 'user-' || account, 1, 'RUB', 'stored', 2, {FIRST} + n * 1000, {FIRST} + n * 1000 + 9,
            {FIRST} + n * 1000 + 600000000, {FIRST} + n * 1000 + 600000000, 2, {entry}
         FROM ({numbers}) AS numbers;"
    );
    let payments = format!(
        "BEGIN;
         INSERT INTO ledger_entries (id, user_id, sequence, entry_type, amount, balance_after, order_id, counter_account, create_time)
         SELECT {entry}, user_id, version + nth, 2, -1, balance - nth, {order}, 'system:order-revenue', {FIRST} + n * 1000 + 5
         FROM ({numbers}) AS numbers JOIN accounts ON user_id = 'user-' || account ORDER BY n;
         INSERT INTO payments (order_id, user_id, amount, currency_code, outcome, account_version, balance_observed,
            ledger_entry_id, decide_time)
         SELECT {order}, user_id, 1, 'RUB', 1, version + nth - 1, balance - nth + 1, {entry}, {FIRST} + n * 1000 + 5
         FROM ({numbers}) AS numbers JOIN accounts ON user_id = 'user-' || account ORDER BY n;
         UPDATE accounts SET version = version + {per_account}, balance = balance - {per_account}
         WHERE user_id IN (SELECT 'user-' || account FROM generate_series(0, {accounts} - 1) AS account);
         COMMIT;"
    );
    sql(&stage.postgres().url("orders"), &orders).await?;
    sql(&stage.postgres().url("payments"), &payments).await
}

/// Does at once what the databases would do in the background for what was run before.
pub(crate) async fn clean(stage: &Stage) -> Result<()> {
    for database in ["orders", "payments"] {
        sql(&stage.postgres().url(database), "VACUUM (FREEZE, ANALYZE); CHECKPOINT;").await?;
    }
    Ok(())
}

/// What page 10,000 of ListOrders costs, divided by what the first costs: medians of alternating reads.
pub(crate) async fn late_page(stage: &Stage) -> Result<f64> {
    let mut client = OrdersServiceClient::connect(format!("http://{}", stage.orders)).await?;
    let first = ListOrdersRequest { page_size: PAGE_SIZE, ..ListOrdersRequest::default() };
    let mut late = first.clone();
    // The token of the late page is that of a walk: nobody can make one.
    let walk = ListOrdersRequest { page_size: 1_000, ..first.clone() };
    let mut token = String::new();
    for _ in 0..PAGE * usize::try_from(PAGE_SIZE)? / 1_000 {
        let request = ListOrdersRequest { page_token: token, ..walk.clone() };
        token = client.list_orders(request).await?.into_inner().next_page_token;
        ensure!(!token.is_empty(), "there are fewer pages");
    }
    late.page_token = token;
    let (mut firsts, mut lates) = (Vec::new(), Vec::new());
    for _ in 0..READS {
        firsts.push(read(&mut client, &first).await?);
        lates.push(read(&mut client, &late).await?);
    }
    Ok(Times::of(lates)?.p50.as_secs_f64() / Times::of(firsts)?.p50.as_secs_f64())
}

async fn read(
    client: &mut OrdersServiceClient<tonic::transport::Channel>,
    request: &ListOrdersRequest,
) -> Result<Duration> {
    let began = Instant::now();
    let page = client.list_orders(request.clone()).await?.into_inner();
    ensure!(page.orders.len() == usize::try_from(PAGE_SIZE)?, "the page is not full");
    Ok(began.elapsed())
}
