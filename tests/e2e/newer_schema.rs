//! A rolling upgrade: the new version has added columns to the tables while the old one still runs on them.

use anyhow::{Context as _, Result, ensure};
use world::Process;

use crate::mesh::{APART, EMBEDDED, Mesh};

#[tokio::test]
async fn postgres_and_rabbitmq() -> Result<()> {
    a_column_more(&Mesh::start(APART).await?).await
}

#[tokio::test]
async fn embedded() -> Result<()> {
    a_column_more(&Mesh::start(EMBEDDED).await?).await
}

/// No statement may ask for all columns of a table: [`storage::rows::columns`] says what comes of it.
async fn a_column_more(mesh: &Mesh) -> Result<()> {
    mesh.account("alice", 1_000).await?;
    every_way(mesh).await?;
    // A first message may have come before anyone listened, and its relay says so; that is not asked here.
    let before: Vec<String> = mesh.processes.iter().map(Process::output).collect();
    for (service, tables) in [
        ("orders", &["orders", "outbox", "inbox", "parked"][..]),
        ("payments", &["accounts", "ledger_entries", "payments", "outbox", "inbox", "parked"]),
    ] {
        for table in tables {
            mesh.tamper(service, &format!("ALTER TABLE {table} ADD COLUMN note TEXT")).await?;
        }
    }
    every_way(mesh).await?;
    for service in ["orders", "payments"] {
        let tried = mesh.count(service, "SELECT COUNT(*) FROM outbox WHERE attempts > 0").await?;
        ensure!(tried == 0, "{service} could not send {tried} messages at once");
    }
    for (process, before) in mesh.processes.iter().zip(&before) {
        let output = process.output();
        let since = output.strip_prefix(before).context("a log only grows")?;
        ensure!(!since.contains("WARN") && !since.contains("ERROR"), "{since}");
    }
    mesh.at_rest().await
}

/// Statements of every kind, often enough for each connection of a pool to have prepared its own.
async fn every_way(mesh: &Mesh) -> Result<()> {
    for _ in 0..30 {
        let paid = mesh.order("alice", 1).await?;
        let paid_order = mesh.ended(&paid).await?;
        ensure!(paid_order["status"] == "FINISHED", "{paid_order}");
        let refused = mesh.order("alice", 100_000).await?;
        ensure!(mesh.ended(&refused).await?["status"] == "CANCELLED");
        for path in [
            format!("/gateway/orders/{paid}/payment"),
            format!("/gateway/orders/{paid}/events"),
            "/gateway/orders?userId=alice".to_owned(),
            "/gateway/payments/alice/entries".to_owned(),
        ] {
            let read = mesh.api.get(&path).await?;
            ensure!(read.status == 200, "{path}: {}", read.text);
        }
    }
    Ok(())
}
