//! `ordermesh check` finds nothing wrong with a mesh at rest, and finds what somebody did to its databases.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use world::{PATIENCE, Program};

use crate::mesh::{ADMIN_TOKEN, EMBEDDED, Mesh};

/// A mesh at rest: alice paid 300 and 200 of 1,000, failed to pay 10,000, and bob has topped up once.
async fn mesh_at_rest() -> Result<Mesh> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 1_000).await?;
    mesh.account("bob", 50).await?;
    for (user, amount) in [("alice", 300), ("alice", 10_000), ("alice", 200), ("carol", 1)] {
        let id = mesh.order(user, amount).await?;
        mesh.ended(&id).await?;
    }
    mesh.at_rest().await?;
    Ok(mesh)
}

/// Runs the checker; returns whether it succeeded, and which invariants it says are broken.
pub(crate) async fn check(mesh: &Mesh) -> Result<(bool, Vec<String>)> {
    check_at(format!("http://{}", mesh.orders), format!("http://{}", mesh.payments)).await
}

/// The same of services at these URLs.
pub(crate) async fn check_at(orders: String, payments: String) -> Result<(bool, Vec<String>)> {
    let mut checker = Program::named("ordermesh")?
        .args(["check".to_owned(), "--json".to_owned()])
        .args(["--orders-url".to_owned(), orders, "--payments-url".to_owned(), payments])
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .start()?;
    // Books of a long run take longer than a moment.
    let ended = checker.wait(5 * PATIENCE).await?;
    let output = checker.output();
    let line = output.lines().find(|line| line.starts_with('{')).with_context(|| output.clone())?;
    let report: Value = serde_json::from_str(line)?;
    let invariants = report["invariants"].as_array().context("a list of invariants")?;
    let broken = invariants.iter().filter(|finding| finding["broken"] != 0);
    Ok((ended.success(), broken.filter_map(|finding| finding["id"].as_str().map(str::to_owned)).collect()))
}

#[tokio::test]
async fn nothing_is_wrong_with_a_mesh_at_rest() -> Result<()> {
    let mesh = mesh_at_rest().await?;
    let (succeeded, broken) = check(&mesh).await?;
    ensure!(succeeded && broken.is_empty(), "{broken:?}");
    let mut checker = Program::named("ordermesh")?
        .args(["check".to_owned(), "--orders-url".to_owned(), format!("http://{}", mesh.orders)])
        .args(["--payments-url".to_owned(), format!("http://{}", mesh.payments)])
        .args(["--admin-token", ADMIN_TOKEN])
        .start()?;
    ensure!(checker.wait(PATIENCE).await?.success(), "{}", checker.output());
    ensure!(checker.output().contains("4 orders, 2 accounts, 4 ledger entries"), "{}", checker.output());
    Ok(())
}

/// Each of these gets past the constraints, because who tampers can take those away.
async fn is_found(sql: &str, expected: &[&str]) -> Result<()> {
    let mesh = mesh_at_rest().await?;
    let loosen = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;
        CREATE TABLE loose AS SELECT * FROM ledger_entries;
        DROP TABLE ledger_entries;
        ALTER TABLE loose RENAME TO ledger_entries;";
    mesh.lift_append_only("payments").await?;
    mesh.tamper("payments", &format!("{loosen} {sql}")).await?;
    let (succeeded, broken) = check(&mesh).await?;
    ensure!(!succeeded, "the tampering was not found");
    for id in expected {
        ensure!(broken.iter().any(|found| found == id), "{id} is not among {broken:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_ledger_entry_is_found() -> Result<()> {
    is_found("DELETE FROM ledger_entries WHERE user_id = 'bob'", &["I1", "I2"]).await
}

#[tokio::test]
async fn a_doubled_debit_is_found() -> Result<()> {
    let sql = "
        INSERT INTO ledger_entries (id, user_id, sequence, entry_type, amount, balance_after, order_id, counter_account, create_time)
            SELECT randomblob(16), user_id, 4, entry_type, amount, balance_after + amount, order_id, counter_account, create_time
            FROM ledger_entries WHERE sequence = 3;
        UPDATE accounts SET balance = balance - 200, version = 4 WHERE user_id = 'alice'";
    is_found(sql, &["I1", "I4"]).await
}

#[tokio::test]
async fn a_balance_off_by_one_is_found() -> Result<()> {
    is_found("UPDATE accounts SET balance = balance + 1 WHERE user_id = 'alice'", &["I1", "I2", "I13"]).await
}

#[tokio::test]
async fn a_finished_order_without_a_debit_is_found() -> Result<()> {
    // The account agrees with its ledger; only the order does not.
    let sql = "DELETE FROM ledger_entries WHERE user_id = 'alice' AND sequence = 3;
        UPDATE accounts SET balance = balance + 200, version = 2 WHERE user_id = 'alice'";
    is_found(sql, &["I1", "I4"]).await
}

#[tokio::test]
async fn a_gap_in_a_sequence_is_found() -> Result<()> {
    let sql = "UPDATE ledger_entries SET sequence = 4 WHERE user_id = 'alice' AND sequence = 3;
        UPDATE accounts SET version = 4 WHERE user_id = 'alice'";
    is_found(sql, &["I2"]).await
}

#[tokio::test]
async fn a_forged_proof_is_found() -> Result<()> {
    is_found("UPDATE payments SET balance_observed = balance_observed - 1 WHERE reason = 1", &["I8"]).await
}
