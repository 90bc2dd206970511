//! CancelOrder races with the payment, and one of them wins: a debit and FINISHED, or none and CANCELLED (I10).

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::mesh::{APART, Arrangement, EMBEDDED, Mesh};

const ORDERS: i64 = 60;

#[tokio::test]
async fn sqlite_in_one_process() -> Result<()> {
    cancels(EMBEDDED).await
}

#[tokio::test]
async fn postgres_and_rabbitmq() -> Result<()> {
    cancels(Arrangement { apart: false, ..APART }).await
}

async fn cancels(arrangement: Arrangement) -> Result<()> {
    let mesh = Mesh::start(arrangement).await?;
    mesh.account("alice", ORDERS).await?;
    let raced: Vec<Value> = try_join_all((0..ORDERS).map(|at| race(&mesh, at))).await?;
    let finished = raced.iter().filter(|order| order["status"] == "FINISHED").count();
    ensure!(mesh.balance("alice").await? == ORDERS - i64::try_from(finished)?, "{finished} are FINISHED");
    refusals(&mesh, &raced[0]).await?;
    mesh.at_rest().await
}

/// Places an order and cancels it a moment later, twice with the same key; returns how it ended.
async fn race(mesh: &Mesh, at: i64) -> Result<Value> {
    let id = mesh.order("alice", 1).await?;
    for _ in 0..at % 7 {
        tokio::task::yield_now().await;
    }
    let path = format!("/gateway/orders/{id}:cancel");
    let key = format!("cancel-{at}");
    let first = mesh.api.post_with_key(&path, &key, &json!({})).await?;
    let ended = mesh.ended(&id).await?;
    if first.status == 400 {
        ensure!(first.text.contains("ORDER_NOT_CANCELLABLE") && ended["version"] == "2", "{}", first.text);
        return settled(mesh, ended).await;
    }
    ensure!(
        first.status == 200 && first.body["status"] == "NEW" && first.body["version"] == "2",
        "{}",
        first.text
    );
    ensure!(first.body["cancelRequestTime"].is_string(), "{}", first.text);
    // The order has ended, and the answer is still the first one.
    let again = mesh.api.post_with_key(&path, &key, &json!({})).await?;
    ensure!(
        again.text == first.text && again.header("idempotency-replayed") == Some("true"),
        "{}",
        again.text
    );
    let versions = events(mesh, &id).await?;
    ensure!(versions.len() == 3 && versions[1] == first.body && versions[2] == ended, "{versions:?}");
    settled(mesh, ended).await
}

async fn settled(mesh: &Mesh, ended: Value) -> Result<Value> {
    let id = ended["id"].as_str().context("an order has an id")?;
    let payment = mesh.api.get(&format!("/gateway/orders/{id}/payment")).await?.body;
    if ended["status"] == "FINISHED" {
        ensure!(
            payment["outcome"] == "PAID" && payment["ledgerEntryId"] == ended["ledgerEntryId"],
            "{payment}"
        );
    } else {
        ensure!(
            ended["cancelReason"] == "USER_REQUESTED" && ended["cancelRequestTime"].is_string(),
            "{ended}"
        );
        ensure!(payment["outcome"] == "VOIDED" && payment["reason"] == "USER_REQUESTED", "{payment}");
    }
    Ok(ended)
}

/// ListOrderEvents, the order of each.
async fn events(mesh: &Mesh, id: &str) -> Result<Vec<Value>> {
    let listed = mesh.api.get(&format!("/gateway/orders/{id}/events")).await?;
    let events = listed.body["events"].as_array().with_context(|| listed.text.clone())?;
    Ok(events.iter().map(|event| event["order"].clone()).collect())
}

async fn refusals(mesh: &Mesh, ended: &Value) -> Result<()> {
    let id = ended["id"].as_str().context("an order has an id")?;
    let late = mesh.api.post(&format!("/gateway/orders/{id}:cancel"), &json!({})).await?;
    ensure!(late.status == 400 && late.text.contains("ORDER_NOT_CANCELLABLE"), "{}", late.text);
    for absent in ["no-such-order", "0197b0c4-0000-7000-8000-000000000000"] {
        let answer = mesh.api.post(&format!("/gateway/orders/{absent}:cancel"), &json!({})).await?;
        ensure!(answer.status == 404 && answer.text.contains("ORDER_NOT_FOUND"), "{}", answer.text);
        let answer = mesh.api.get(&format!("/gateway/orders/{absent}/events")).await?;
        ensure!(answer.status == 404 && answer.text.contains("ORDER_NOT_FOUND"), "{}", answer.text);
    }
    Ok(())
}
