//! Where there is an issuer, orders compares itself with payments by the token in a file, which may be replaced at any time.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use world::{Api, Issuer, PATIENCE, Scratch, claims, eventually};

use crate::{
    mesh::{APART, Mesh},
    reconciliation::often,
    scrape::Scrape,
};

const USER: &str = "orders:read orders:write payments:read payments:write";

/// Gives orders a token of this scope, valid for so many seconds.
async fn give(issuer: &Issuer, file: &Path, scope: &str, seconds: i64) -> Result<()> {
    let token = issuer.token("first", &claims("orders", scope, seconds)).await?;
    // As who edits a file leaves it.
    Ok(fs::write(file, format!("{token}\n"))?)
}

/// Waits until an operator is shown this, which is why nothing is compared; nothing where all is.
async fn says(operator: &Api, problem: &str) -> Result<Value> {
    eventually(&format!("{problem:?}"), PATIENCE, async || {
        let answer = operator.get("/admin/v1/orders/reconciliation").await?;
        let error = answer.body["error"].as_str().unwrap_or_default();
        let is_said = if problem.is_empty() { error.is_empty() } else { error.contains(problem) };
        ensure!(answer.status == 200 && is_said, "{}", answer.text);
        Ok(answer.body)
    })
    .await
}

async fn compared(mesh: &Mesh) -> Result<f64> {
    Scrape::of(mesh.admin("orders")?).await?.number("reconciliation_compared_orders_total", &[])
}

async fn order(mesh: &Mesh, issuer: &Issuer) -> Result<()> {
    let api = mesh.api.with_token(&issuer.token("first", &claims("alice", USER, 3_600)).await?);
    api.post("/gateway/payments", &json!({})).await?;
    let placed = api.post("/gateway/orders", &json!({ "amount": 1 })).await?;
    let id = placed.body["id"].as_str().with_context(|| placed.text.clone())?.to_owned();
    eventually("the end of the order", PATIENCE, async || {
        let order = api.get(&format!("/gateway/orders/{id}")).await?;
        ensure!(order.body["status"] == "CANCELLED", "{}", order.text);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn orders_compares_by_the_token_in_a_file() -> Result<()> {
    let (issuer, scratch) = (Issuer::start().await?, Scratch::new("token")?);
    let file = scratch.path().join("payments.token");
    give(&issuer, &file, "orders:read", 3_600).await?;
    let mut env: Vec<_> = often().into_iter().filter(|(name, _)| *name != "ADMIN_TOKEN").collect();
    env.extend(issuer.env());
    env.push(("PAYMENTS_TOKEN_FILE", file.display().to_string()));
    let mesh = Mesh::start_with(APART, &env).await?;
    let token = issuer.token("first", &claims("olga", "admin:read", 3_600)).await?;
    let operator = mesh.admin("orders")?.with_token(&token);
    order(&mesh, &issuer).await?;

    let refused = says(&operator, "does not have permission").await?;
    ensure!(refused["comparing"] != true && compared(&mesh).await? == 0.0, "{refused}");
    give(&issuer, &file, "admin:read", 3_600).await?;
    let is_compared = says(&operator, "").await?;
    ensure!(is_compared["comparing"] == true, "{is_compared}");
    eventually("the order to be compared", PATIENCE, async || {
        ensure!(compared(&mesh).await? > 0.0, "it is not");
        Ok(())
    })
    .await?;
    give(&issuer, &file, "admin:read", -60).await?;
    says(&operator, "authentication credentials").await?;
    fs::remove_file(&file)?;
    says(&operator, "cannot read").await?;
    give(&issuer, &file, "admin:read", 3_600).await?;
    says(&operator, "").await?;
    Ok(())
}
