//! A crash in the middle of a thousand orders: after the restart every order ends, and the sums are right.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use serde_json::json;
use world::{PATIENCE, eventually};

use crate::mesh::{EMBEDDED, Mesh};

const ORDERS: usize = 1_000;
const CLIENTS: usize = 8;
const USERS: usize = 10;
const AMOUNT: i64 = 7;
/// Enough for half of a user's orders.
const BALANCE: i64 = AMOUNT * (ORDERS / USERS / 2) as i64;

#[tokio::test]
async fn nothing_is_lost_or_doubled_by_kill_9() -> Result<()> {
    let mut mesh = Mesh::start(EMBEDDED).await?;
    for user in 0..USERS {
        mesh.account(&format!("user-{user}"), BALANCE).await?;
    }

    let api = Arc::new(mesh.api.clone());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let api = Arc::clone(&api);
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for at in (client..ORDERS).step_by(CLIENTS) {
                    let order = json!({ "userId": format!("user-{}", at % USERS), "amount": AMOUNT });
                    // The one who is cut off does not know, and asks again with the same key after the restart.
                    match api.post_with_key("/gateway/orders", &format!("key-{at}"), &order).await {
                        Ok(answer) if answer.status == 200 => acknowledged.push(at),
                        _ => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    let half = i64::try_from(ORDERS / 2)?;
    eventually("half of the orders", PATIENCE, async || {
        let placed = mesh.count("orders", "SELECT COUNT(*) FROM orders").await?;
        ensure!(placed >= half, "{placed} orders are placed");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    mesh.processes[0].kill9().await?;
    let acknowledged: Vec<usize> =
        join_all(clients).await.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    ensure!(acknowledged.len() < ORDERS, "the crash came after the last order");

    mesh.start_again().await?;
    for at in 0..ORDERS {
        let order = json!({ "userId": format!("user-{}", at % USERS), "amount": AMOUNT });
        let answer = mesh.api.post_with_key("/gateway/orders", &format!("key-{at}"), &order).await?;
        ensure!(answer.status == 200, "{}", answer.text);
        // What was acknowledged before the crash is still there: this was a replay.
        let replayed = answer.header("idempotency-replayed").is_some();
        ensure!(replayed || !acknowledged.contains(&at), "order {at} was acknowledged and is lost");
    }
    sums_are_right(&mesh).await?;
    mesh.at_rest().await
}

/// I1, I4 and I5: every order ended, and each FINISHED one was debited once.
async fn sums_are_right(mesh: &Mesh) -> Result<()> {
    eventually("the end of every order", PATIENCE, async || {
        let open = mesh.count("orders", "SELECT COUNT(*) FROM orders WHERE status = 1").await?;
        ensure!(open == 0, "{open} orders are still NEW");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let orders = mesh.count("orders", "SELECT COUNT(*) FROM orders").await?;
    ensure!(orders == i64::try_from(ORDERS)?, "{orders} orders");
    for user in 0..USERS {
        let user = format!("user-{user}");
        let mut finished: Vec<String> = Vec::new();
        let mut page = String::new();
        loop {
            let path = format!("/gateway/orders?userId={user}&status=FINISHED&pageSize=30&pageToken={page}");
            let list = mesh.api.get(&path).await?.body;
            let entries =
                list["orders"].as_array().into_iter().flatten().map(|order| &order["ledgerEntryId"]);
            finished.extend(entries.map(|entry| entry.as_str().map(str::to_owned).unwrap_or_default()));
            match list["nextPageToken"].as_str() {
                Some(token) => page = token.to_owned(),
                None => break,
            }
        }
        let spent = AMOUNT * i64::try_from(finished.len())?;
        ensure!(mesh.balance(&user).await? == BALANCE - spent && spent == BALANCE, "{user} spent {spent}");
        finished.sort_unstable();
        finished.dedup();
        ensure!(AMOUNT * i64::try_from(finished.len())? == spent, "a debit serves two orders");
    }
    let debits = mesh.count("payments", "SELECT COUNT(*) FROM ledger_entries WHERE entry_type = 2").await?;
    let finished = mesh.count("orders", "SELECT COUNT(*) FROM orders WHERE status = 2").await?;
    ensure!(debits == finished, "{debits} debits for {finished} FINISHED orders");
    let total = mesh.count("payments", "SELECT CAST(SUM(balance) AS INTEGER) FROM accounts").await?;
    let expected = i64::try_from(USERS)? * BALANCE - AMOUNT * finished;
    (total == expected).then_some(()).with_context(|| format!("balances sum to {total}, not to {expected}"))
}
