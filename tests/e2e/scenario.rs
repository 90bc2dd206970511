//! The main job, on every arrangement: an account is opened and topped up, orders are placed, and each ends as it must.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::mesh::{APART, Arrangement, EMBEDDED, Mesh};

#[tokio::test]
async fn embedded_in_one_process() -> Result<()> {
    scenario(EMBEDDED).await
}

#[tokio::test]
async fn sqlite_and_rabbitmq_in_one_process() -> Result<()> {
    scenario(Arrangement { rabbitmq: true, ..EMBEDDED }).await
}

#[tokio::test]
async fn postgres_and_memory_in_one_process() -> Result<()> {
    scenario(Arrangement { postgres: true, ..EMBEDDED }).await
}

#[tokio::test]
async fn postgres_and_rabbitmq_in_one_process() -> Result<()> {
    scenario(Arrangement { apart: false, ..APART }).await
}

#[tokio::test]
async fn sqlite_and_rabbitmq_as_separate_processes() -> Result<()> {
    scenario(Arrangement { postgres: false, ..APART }).await
}

#[tokio::test]
async fn postgres_and_rabbitmq_as_separate_processes() -> Result<()> {
    scenario(APART).await
}

async fn scenario(arrangement: Arrangement) -> Result<()> {
    main_job(&Mesh::start(arrangement).await?).await
}

/// All of it, on a mesh that has served nobody.
pub(crate) async fn main_job(mesh: &Mesh) -> Result<()> {
    mesh.account("alice", 1_000).await?;

    // One after the other: orders of one user that are placed at once may be decided in any order.
    let paid = mesh.order("alice", 300).await?;
    let paid = mesh.ended(&paid).await?;
    ensure!(
        paid["status"] == "FINISHED" && paid["version"] == "2" && paid["ledgerEntryId"].is_string(),
        "{paid}"
    );
    let too_much = mesh.order("alice", 701).await?;
    let stranger = mesh.order("bob", 1).await?;
    for (id, reason) in [(&too_much, "INSUFFICIENT_FUNDS"), (&stranger, "ACCOUNT_NOT_FOUND")] {
        let cancelled = mesh.ended(id).await?;
        ensure!(cancelled["status"] == "CANCELLED" && cancelled["cancelReason"] == reason, "{cancelled}");
    }
    let rest = mesh.order("alice", 700).await?;
    ensure!(mesh.ended(&rest).await?["status"] == "FINISHED");
    ensure!(mesh.balance("alice").await? == 0);

    let proof = mesh.api.get(&format!("/gateway/orders/{too_much}/payment")).await?;
    ensure!(proof.body["outcome"] == "REJECTED" && proof.body["balanceObserved"] == "700", "{}", proof.text);
    lists(mesh).await?;
    ledger(mesh).await?;
    repeats(mesh).await?;
    mesh.at_rest().await
}

/// Pages, and what they are narrowed to.
async fn lists(mesh: &Mesh) -> Result<()> {
    let first = mesh.api.get("/gateway/orders?userId=alice&pageSize=2").await?;
    ensure!(first.body["orders"].as_array().is_some_and(|orders| orders.len() == 2), "{}", first.text);
    let token = first.body["nextPageToken"].as_str().unwrap_or_default();
    let second = mesh.api.get(&format!("/gateway/orders?userId=alice&pageSize=2&pageToken={token}")).await?;
    ensure!(second.body["orders"].as_array().is_some_and(|orders| orders.len() == 1), "{}", second.text);
    ensure!(second.body["nextPageToken"].is_null(), "{}", second.text);
    let finished = mesh.api.get("/gateway/orders?userId=alice&status=FINISHED").await?;
    ensure!(finished.body["orders"].as_array().is_some_and(|orders| orders.len() == 2), "{}", finished.text);

    let foreign = mesh.api.get(&format!("/gateway/orders?userId=bob&pageToken={token}")).await?;
    ensure!(foreign.status == 400 && foreign.text.contains("INVALID_PAGE_TOKEN"), "{}", foreign.text);
    Ok(())
}

/// The ledger, the newest entry first, in pages.
async fn ledger(mesh: &Mesh) -> Result<()> {
    let path = "/gateway/payments/alice/entries?pageSize=2"; // ListLedgerEntries
    let first = mesh.api.get(path).await?;
    let token = first.body["nextPageToken"].as_str().unwrap_or_default();
    let second = mesh.api.get(&format!("{path}&pageToken={token}")).await?;
    ensure!(second.body["nextPageToken"].is_null(), "{}", second.text);
    let entries =
        [&first, &second].into_iter().flat_map(|page| page.body["entries"].as_array().into_iter().flatten());
    let told: Vec<_> =
        entries.map(|entry| json!([entry["sequence"], entry["amount"], entry["balanceAfter"]])).collect();
    let chain = json!([["3", "-700", "0"], ["2", "-300", "700"], ["1", "1000", "1000"]]);
    ensure!(json!(told) == chain, "{told:?}");
    for (filter, amounts) in [
        ("type = TOP_UP", &["1000"][..]),
        ("type != TOP_UP AND amount <= -700", &["-700"]),
        ("amount > -700 AND amount < 0 AND create_time >= 2026-01-01T00:00:00Z", &["-300"]),
        ("create_time < 2026-01-01T00:00:00Z", &[]),
    ] {
        let found = mesh.api.get(&filtered(filter)).await?;
        let found_amounts: Vec<&str> = found.body["entries"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|entry| entry["amount"].as_str())
            .collect();
        ensure!(found.status == 200 && found_amounts == amounts, "{filter}: {}", found.text);
    }
    for filter in ["type > TOP_UP", "type = GIFT", "amount = much", "colour = red", "order_id = 7"] {
        let refused = mesh.api.get(&filtered(filter)).await?;
        ensure!(
            refused.status == 400 && refused.text.contains("INVALID_FILTER"),
            "{filter}: {}",
            refused.text
        );
    }
    let foreign = mesh.api.get(&format!("/gateway/payments/bob/entries?pageToken={token}")).await?;
    ensure!(foreign.status == 400 && foreign.text.contains("INVALID_PAGE_TOKEN"), "{}", foreign.text);
    let absent = mesh.api.get("/gateway/payments/bob/entries").await?;
    ensure!(absent.status == 404 && absent.text.contains("ACCOUNT_NOT_FOUND"), "{}", absent.text);
    Ok(())
}

/// Alice's entries, narrowed by an expression.
fn filtered(filter: &str) -> String {
    let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/gateway/payments/alice/entries?filter={encoded}")
}

/// A key that comes again has its effect once.
async fn repeats(mesh: &Mesh) -> Result<()> {
    let top_up = json!({ "amount": "500" });
    let first = mesh.api.post_with_key("/gateway/payments/alice/top-up", "\"monday\"", &top_up).await?;
    let again = mesh.api.post_with_key("/gateway/payments/alice/top-up", "monday", &top_up).await?;
    ensure!(first.status == 200 && first.header("idempotency-replayed").is_none(), "{}", first.text);
    ensure!(
        again.text == first.text && again.header("idempotency-replayed") == Some("true"),
        "{}",
        again.text
    );

    let order = json!({ "userId": "alice", "amount": 500 });
    let first = mesh.api.post_with_key("/gateway/orders", "tuesday", &order).await?;
    let id = first.body["id"].as_str().unwrap_or_default();
    ensure!(mesh.ended(id).await?["status"] == "FINISHED");
    // The order has moved on, and the answer is still the first one.
    let again = mesh.api.post_with_key("/gateway/orders", "tuesday", &order).await?;
    ensure!(
        again.text == first.text && again.header("idempotency-replayed") == Some("true"),
        "{}",
        again.text
    );
    let other = mesh
        .api
        .post_with_key("/gateway/orders", "tuesday", &json!({ "userId": "alice", "amount": 501 }))
        .await?;
    ensure!(other.status == 422 && other.text.contains("IDEMPOTENCY_KEY_REUSED"), "{}", other.text);
    ensure!(mesh.balance("alice").await? == 0);
    Ok(())
}
