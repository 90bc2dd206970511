//! Bad input gets the error table's answer, never a 500, and changes nothing.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;
use world::{Answer, answer};

use crate::mesh::{EMBEDDED, Mesh};

/// What an answer must be.
fn is(answer: &Answer, status: u16, reason: &str) -> Result<()> {
    let info = &answer.body["error"]["details"][0];
    ensure!(answer.status == status, "expected {status} {reason}: {} {}", answer.status, answer.text);
    ensure!(info["reason"] == reason && info["domain"] == "ordermesh", "expected {reason}: {}", answer.text);
    Ok(())
}

#[tokio::test]
async fn bad_input_is_refused_by_the_table() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 100).await?;
    bodies(&mesh).await?;
    fields(&mesh).await?;
    routes(&mesh).await?;
    for (service, sql) in [
        ("orders", "SELECT COUNT(*) FROM orders"),
        ("orders", "SELECT COUNT(*) FROM outbox"),
        ("payments", "SELECT COUNT(*) - 1 FROM accounts"),
        ("payments", "SELECT COUNT(*) - 1 FROM ledger_entries"),
        ("payments", "SELECT COUNT(*) FROM payments"),
    ] {
        let left = mesh.count(service, sql).await?;
        ensure!(left == 0, "bad input left {left} rows: {sql}");
    }
    ensure!(mesh.balance("alice").await? == 100);
    mesh.at_rest().await
}

async fn bodies(mesh: &Mesh) -> Result<()> {
    let raw = |body: String| {
        let request = mesh.api.request(Method::POST, "/gateway/orders");
        answer(request.header("content-type", "application/json").body(body))
    };
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        "{",
        "[]",
        "null trailing",
        r#"{"userId":"alice","amount":"a lot"}"#,
        r#"{"userId":"alice","amount":1.5}"#,
        r#"{"userId":7,"amount":1}"#,
        r#"{"userId":"alice","amount":99999999999999999999}"#,
        r#"{"userId":"alice","amount":1,"colour":"red"}"#,
        r#"{"userId":"alice","amount":1,"status":"SOMETHING"}"#,
        &deep,
        "\u{0}",
    ] {
        is(&raw(body.to_owned()).await?, 400, "MALFORMED_REQUEST")?;
    }
    let large = format!(r#"{{"userId":"alice","amount":1,"description":"{}"}}"#, "x".repeat(2 << 20));
    is(&raw(large).await?, 413, "BODY_TOO_LARGE")?;
    let form =
        mesh.api.request(Method::POST, "/gateway/orders").header("content-type", "text/plain").body("{}");
    is(&answer(form).await?, 415, "UNSUPPORTED_MEDIA_TYPE")
}

async fn fields(mesh: &Mesh) -> Result<()> {
    let long = "u".repeat(65);
    for (order, field) in [
        (json!({ "userId": "alice", "amount": 0 }), "order.amount"),
        (json!({ "userId": "alice", "amount": -1 }), "order.amount"),
        (json!({ "userId": "alice", "amount": "1000000000001" }), "order.amount"),
        (json!({ "userId": "alice", "amount": i64::MIN.to_string() }), "order.amount"),
        (json!({ "userId": "", "amount": 1 }), "order.user_id"),
        (json!({ "userId": " ", "amount": 1 }), "order.user_id"),
        (json!({ "userId": long, "amount": 1 }), "order.user_id"),
        (json!({ "userId": "alice", "amount": 1, "currencyCode": "XXX" }), "order.currency_code"),
        (json!({ "userId": "alice", "amount": 1, "description": "a\u{7}b" }), "order.description"),
        (
            json!({ "userId": "alice", "amount": 1, "description": "\u{1f980}".repeat(1_025) }),
            "order.description",
        ),
    ] {
        let refused = mesh.api.post("/gateway/orders", &order).await?;
        is(&refused, 400, "INVALID_FIELD")?;
        ensure!(refused.text.contains(field), "{field}: {}", refused.text);
    }
    let amount = |amount: i64| json!({ "amount": amount });
    for wrong in [0, -5, 1_000_000_000_001, i64::MAX, i64::MIN] {
        is(&mesh.api.post("/gateway/payments/alice/top-up", &amount(wrong)).await?, 400, "INVALID_FIELD")?;
    }
    for user in ["", " ", &long, "a/b", "\u{1f980}", "a\u{7}b"] {
        is(&mesh.api.post("/gateway/payments", &json!({ "userId": user })).await?, 400, "INVALID_FIELD")?;
    }
    let unknown = json!({ "userId": "dave", "currencyCode": "rub" });
    is(&mesh.api.post("/gateway/payments", &unknown).await?, 400, "INVALID_FIELD")?;
    let long_key = "k".repeat(129);
    let order = json!({ "userId": "alice", "amount": 1 });
    is(&mesh.api.post_with_key("/gateway/orders", &long_key, &order).await?, 400, "INVALID_FIELD")?;
    is(&mesh.api.post("/gateway/payments/nobody/top-up", &amount(5)).await?, 404, "ACCOUNT_NOT_FOUND")?;
    let foreign = json!({ "amount": 5, "currencyCode": "EUR" });
    is(&mesh.api.post("/gateway/payments/alice/top-up", &foreign).await?, 400, "CURRENCY_MISMATCH")?;
    let twice = mesh.api.post("/gateway/payments", &json!({ "userId": "alice" })).await?;
    is(&twice, 409, "ACCOUNT_ALREADY_EXISTS")
}

async fn routes(mesh: &Mesh) -> Result<()> {
    for (path, status, reason) in [
        ("/gateway/orders/no-such-order", 404, "ORDER_NOT_FOUND"),
        (&format!("/gateway/orders/{}", "x".repeat(18_000)), 404, "ORDER_NOT_FOUND"),
        ("/gateway/orders/0197b0c4-0000-7000-8000-000000000000", 404, "ORDER_NOT_FOUND"),
        ("/gateway/orders/0197b0c4-0000-7000-8000-000000000000/payment", 404, "PAYMENT_NOT_FOUND"),
        ("/gateway/payments/nobody", 404, "ACCOUNT_NOT_FOUND"),
        ("/gateway/orders?pageToken=junk", 400, "INVALID_PAGE_TOKEN"),
        ("/gateway/orders?pageSize=-1", 400, "INVALID_FIELD"),
        ("/gateway/orders?filter=x", 400, "INVALID_FILTER"),
        ("/gateway/orders?orderBy=x", 400, "INVALID_ORDER_BY"),
        ("/gateway/orders?colour=red", 400, "MALFORMED_REQUEST"),
        ("/gateway/orders?status=OPEN", 400, "MALFORMED_REQUEST"),
        ("/gateway/nothing", 404, "ROUTE_NOT_FOUND"),
    ] {
        let refused = mesh.api.get(path).await?;
        is(&refused, status, reason)?;
        ensure!(refused.text.len() < 4_096, "{} bytes for {} of a path", refused.text.len(), path.len());
    }
    let wrong = answer(mesh.api.request(Method::DELETE, "/gateway/orders")).await?;
    is(&wrong, 405, "METHOD_NOT_ALLOWED")?;
    ensure!(wrong.header("allow").is_some_and(|allow| allow.contains("GET") && allow.contains("POST")));
    Ok(())
}

#[tokio::test]
async fn a_balance_stops_at_its_limit_and_emoji_are_text() -> Result<()> {
    const LIMIT: i64 = (1 << 53) - 1;
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 1).await?;
    // Rich by one entry, which the ledger agrees with.
    let rich = format!(
        "UPDATE accounts SET balance = {LIMIT}; UPDATE ledger_entries SET amount = {LIMIT}, balance_after = {LIMIT}"
    );
    mesh.lift_append_only("ledger_entries").await?;
    mesh.tamper("payments", &rich).await?;
    for amount in [1, 1_000_000_000_000_i64] {
        let refused = mesh.api.post("/gateway/payments/alice/top-up", &json!({ "amount": amount })).await?;
        is(&refused, 400, "BALANCE_LIMIT_EXCEEDED")?;
    }
    ensure!(mesh.balance("alice").await? == LIMIT);
    ensure!(mesh.count("payments", "SELECT COUNT(*) FROM ledger_entries").await? == 1);

    let description = format!("{} naïve\ttext\nof two lines", "\u{1f980}".repeat(1_000));
    let largest = json!({ "userId": "alice", "amount": "1000000000000", "description": description });
    let placed = mesh.api.post("/gateway/orders", &largest).await?;
    ensure!(placed.status == 200 && placed.body["description"] == description, "{}", placed.text);
    let ended = mesh.ended(placed.body["id"].as_str().unwrap_or_default()).await?;
    ensure!(ended["status"] == "FINISHED" && ended["description"] == description, "{ended}");
    mesh.at_rest().await
}
