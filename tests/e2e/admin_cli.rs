//! `ordermesh admin`, and the lines of docs/ADMIN.md as they stand there.

use std::{path::Path, process::Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use world::{PATIENCE, Program, eventually};

use crate::{
    admin_json::admin,
    mesh::{ADMIN_TOKEN, EMBEDDED, Mesh},
};

/// Payments on SQLite cannot handle the orders of the user `poison`.
pub(crate) const POISON: &str = "CREATE TRIGGER hinder BEFORE INSERT ON payments WHEN NEW.user_id = 'poison'
        BEGIN SELECT RAISE(ABORT, 'the poison works'); END";

/// A command of the operator's, by the addresses of a mesh.
pub(crate) fn operator(mesh: &Mesh, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("ORDERS_URL", format!("http://{}", mesh.orders))
        .env("PAYMENTS_URL", format!("http://{}", mesh.payments))
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .kill_on_drop(true);
    command
}

/// What a command prints, and its exit status.
async fn run(mesh: &Mesh, line: &str) -> Result<(String, i32)> {
    let binary = Program::named("ordermesh")?.binary().display().to_string();
    let output: Output = operator(mesh, &binary).args(line.split(' ')).output().await?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((text, output.status.code().context("it has ended by itself")?))
}

/// A line that succeeds and says this.
async fn says(mesh: &Mesh, line: &str, status: i32, texts: &[&str]) -> Result<()> {
    let (output, code) = run(mesh, line).await?;
    ensure!(code == status, "{line}: {code}\n{output}");
    for text in texts {
        ensure!(output.contains(text), "{line} does not say {text:?}:\n{output}");
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_asks_and_acts() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 100).await?;
    let id = mesh.order("alice", 30).await?;
    mesh.ended(&id).await?;
    mesh.at_rest().await?;

    says(&mesh, &format!("admin explain {id}"), 0, &[&id, "FINISHED", "decision published", "PAID"]).await?;
    let (line, code) = run(&mesh, &format!("admin --json explain {id}")).await?;
    let explained: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
    let over_http = admin(&mesh, "orders", &format!("/{id}:explain")).await?;
    ensure!(code == 0 && explained["order"] == over_http["order"], "{explained:#}\n{over_http:#}");
    says(&mesh, "admin explain nothing", 1, &["there is no order nothing"]).await?;
    says(&mesh, "admin status", 0, &["service", "orders", "payments", "dead letters"]).await?;
    says(&mesh, "admin audit --service payments", 0, &["TOP_UP", "ORDER_DEBIT", &id]).await?;
    says(&mesh, "admin accounts --limit 1", 0, &["alice", "70", "RUB"]).await?;
    says(&mesh, "admin reconciliation", 0, &["RUB", "100", "difference"]).await?;
    says(&mesh, "admin status --admin-token guess", 1, &[]).await?;
    says(&mesh, "admin what", 2, &["unrecognized subcommand"]).await?;
    for shell in ["bash", "zsh", "fish"] {
        says(&mesh, &format!("completions {shell}"), 0, &["ordermesh", "reconciliation"]).await?;
    }
    what_is_parked(&mesh).await?;
    the_page(&mesh, &id).await
}

async fn what_is_parked(mesh: &Mesh) -> Result<()> {
    says(mesh, "admin parked list", 0, &["number"]).await?;
    mesh.tamper("payments", POISON).await?;
    mesh.account("poison", 10).await?;
    let id = mesh.order("poison", 1).await?;
    eventually("a parked message", PATIENCE, async || {
        let parked = admin(mesh, "payments", "/parked").await?;
        ensure!(parked["messages"][0]["state"] == "PARKED", "{parked}");
        Ok(())
    })
    .await?;
    says(mesh, "admin parked list --service payments", 3, &["OrderPlaced", "poison", "the poison works"])
        .await?;
    says(mesh, &format!("admin explain {id}"), 3, &["PARKED: payments has parked its OrderPlaced"]).await?;
    says(mesh, "admin status", 3, &["payments"]).await?;
    mesh.tamper("payments", "DROP TRIGGER hinder").await?;
    let redrive = "admin parked redrive --service payments --operator olga";
    says(mesh, &format!("{redrive} --kind other"), 0, &["0 messages were sent back"]).await?;
    says(mesh, redrive, 0, &["1 messages were sent back to payments"]).await?;
    let order = mesh.ended(&id).await?;
    ensure!(order["status"] == "FINISHED", "{order}");
    says(mesh, "admin audit --service payments --limit 5", 0, &["REDRIVE", "olga"]).await
}

/// Every shell block of docs/ADMIN.md.
async fn the_page(mesh: &Mesh, id: &str) -> Result<()> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ADMIN.md"))?;
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let lines: Vec<String> = blocks.flat_map(str::lines).map(str::to_owned).collect();
    ensure!(lines.len() > 10, "{lines:?}");
    let folder = Program::named("ordermesh")?.binary().parent().context("a folder")?.display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH")?);
    for line in lines {
        let script = line.replace("http://127.0.0.1:9090", mesh.admin("orders")?.base());
        let mut shell = operator(mesh, "bash");
        let output = shell.args(["-euc", &script]).env("PATH", &path).env("ORDER", id).output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
        if line.starts_with("curl") {
            let answer: Value = serde_json::from_str(&text).with_context(|| format!("{line}: {text}"))?;
            ensure!(answer["reason"] == json!(null), "{line}: {answer}");
        }
    }
    Ok(())
}
