//! Conditions on writes (`If-Match`): what is done is done to the version that was read, or not at all.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use http::Method;
use serde_json::{Value, json};
use world::{Answer, answer};

use crate::mesh::{APART, Arrangement, EMBEDDED, Mesh};

#[tokio::test]
async fn sqlite_in_one_process() -> Result<()> {
    conditions(EMBEDDED).await
}

#[tokio::test]
async fn postgres_and_rabbitmq() -> Result<()> {
    conditions(Arrangement { apart: false, ..APART }).await
}

async fn conditions(arrangement: Arrangement) -> Result<()> {
    let mesh = Mesh::start(arrangement).await?;
    mesh.account("alice", 100).await?;
    top_ups(&mesh).await?;
    cancellations(&mesh).await?;
    mesh.at_rest().await?;
    mesh.has_logged_no_error()
}

/// Many read one version, and one of them changes it.
async fn top_ups(mesh: &Mesh) -> Result<()> {
    let path = "/gateway/payments/alice/top-up";
    let tag = tag(mesh, "/gateway/payments/alice").await?;
    let raced =
        try_join_all((0..20).map(|at| post(mesh, path, &tag, Some(at), json!({ "amount": 10 })))).await?;
    let booked: Vec<usize> = (0..20).filter(|at| raced[*at].status == 200).collect();
    ensure!(booked.len() == 1, "{booked:?} were booked");
    for refused in raced.iter().filter(|answer| answer.status != 200) {
        ensure!(refused.status == 412 && reason(refused) == "PRECONDITION_FAILED", "{}", refused.text);
    }
    ensure!(mesh.balance("alice").await? == 110);
    // The same call again is answered as before, though the version is another one now.
    let again = post(mesh, path, &tag, Some(booked[0]), json!({ "amount": 10 })).await?;
    ensure!(again.status == 200 && again.header("idempotency-replayed") == Some("true"), "{}", again.text);
    let other = self::tag(mesh, "/gateway/payments/alice").await?;
    for condition in [other.as_str(), "*"] {
        let answer = post(mesh, path, condition, None, json!({ "amount": 10 })).await?;
        ensure!(answer.status == 200, "{condition}: {}", answer.text);
    }
    let wrong = post(mesh, path, "\"what\"", None, json!({ "amount": 10 })).await?;
    ensure!(wrong.status == 400 && wrong.text.contains("etag"), "{}", wrong.text);
    ensure!(mesh.balance("alice").await? == 130);
    over_connect(mesh, &other).await
}

/// Key and tag are headers of a call of Connect too.
async fn over_connect(mesh: &Mesh, stale: &str) -> Result<()> {
    let path = "/ordermesh.payments.v1.PaymentsService/TopUpAccount";
    let body = json!({ "userId": "alice", "amount": "10" });
    let refused = post(mesh, path, stale, None, body.clone()).await?;
    ensure!(refused.status == 409 && refused.body["code"] == "aborted", "{}", refused.text);
    let tag = tag(mesh, "/gateway/payments/alice").await?;
    for replayed in [None, Some("true")] {
        let answer = post(mesh, path, &tag, Some(100), body.clone()).await?;
        ensure!(answer.status == 200 && answer.header("idempotency-replayed") == replayed, "{}", answer.text);
    }
    ensure!(mesh.balance("alice").await? == 140);
    Ok(())
}

/// A cancellation of the first version races with the end of the order.
async fn cancellations(mesh: &Mesh) -> Result<()> {
    let mut outcomes = [0, 0];
    for at in 0..30_u8 {
        let id = mesh.order("alice", 1).await?;
        let order = format!("/gateway/orders/{id}");
        if at % 2 == 1 {
            mesh.ended(&id).await?;
        }
        let answer = post(mesh, &format!("{order}:cancel"), "\"1\"", None, json!({})).await?;
        let ended = mesh.ended(&id).await?;
        match answer.status.as_u16() {
            200 => {
                ensure!(answer.body["version"] == "2" && ended["cancelRequestTime"].is_string(), "{ended}")
            }
            412 => ensure!(
                reason(&answer) == "PRECONDITION_FAILED" && ended["cancelRequestTime"].is_null(),
                "{ended}"
            ),
            _ => anyhow::bail!("{}", answer.text),
        }
        outcomes[usize::from(answer.status == 412)] += 1;
        // Who knows the last version is told what is wrong with the order.
        let late = post(mesh, &format!("{order}:cancel"), &tag(mesh, &order).await?, None, json!({})).await?;
        ensure!(reason(&late) == "ORDER_NOT_CANCELLABLE", "{}", late.text);
    }
    ensure!(outcomes[1] >= 15, "{outcomes:?}");
    Ok(())
}

async fn tag(mesh: &Mesh, path: &str) -> Result<String> {
    Ok(mesh.api.get(path).await?.header("etag").context("a tag")?.to_owned())
}

async fn post(mesh: &Mesh, path: &str, condition: &str, key: Option<usize>, body: Value) -> Result<Answer> {
    let mut request = mesh.api.request(Method::POST, path).header("if-match", condition).json(&body);
    if let Some(key) = key {
        request = request.header("idempotency-key", format!("condition-{key}"));
    }
    answer(request).await
}

fn reason(answer: &Answer) -> &str {
    answer.body["error"]["details"][0]["reason"].as_str().unwrap_or_default()
}
