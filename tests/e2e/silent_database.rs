//! A database that says nothing any more to a process while its connections stay, and a writer that waits for somebody: calls end in time, and
//! work goes on by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use sea_orm::{
    ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait as _,
};
use serde_json::json;
use tokio::time::Instant;
use world::{Answer, PATIENCE, Postgres, eventually};

use crate::{
    admin_json::admin,
    mesh::{APART, Arrangement, Mesh},
};

const DEADLINE: Duration = Duration::from_secs(2);
/// For whatever else a call takes, on a busy machine.
const SOON: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_backends_stop_no_process() -> Result<()> {
    let timeout = ("STATEMENT_TIMEOUT", format!("{}s", DEADLINE.as_secs()));
    let on_postgres = Arrangement { rabbitmq: false, apart: false, ..APART };
    let mesh = Mesh::start_with(on_postgres, &[timeout]).await?;
    let postgres = mesh.postgres.as_ref().context("a mesh on PostgreSQL")?;
    let elsewhere = Database::connect(postgres.url("postgres")).await?;
    mesh.account("alice", 1_000).await?;
    let frozen = eventually("a moment at which nothing is written", PATIENCE, async || {
        // A connection that has rested is looked at first: these have not.
        mesh.ended(&mesh.order("alice", 1).await?).await?;
        freeze(postgres, &elsewhere).await
    })
    .await?;
    ensure!(frozen.len() >= 6, "hardly any connection: {frozen:?}");
    let began = Instant::now();
    let asked = mesh.api.post("/gateway/orders", &json!({ "userId": "alice", "amount": 1 })).await?;
    ensure!(asked.status == 200 || asked.status == 503, "{} {}", asked.status, asked.text);
    ensure!(began.elapsed() < DEADLINE + SOON, "{} after {:?}", asked.text, began.elapsed());
    let next = mesh.order("alice", 1).await?;
    ensure!(began.elapsed() < DEADLINE + 2 * SOON, "the next order after {:?}", began.elapsed());
    // The relay, what wakes it, and the consumers go on too.
    ensure!(mesh.ended(&next).await?["status"] == "FINISHED");
    ready(&mesh, 200, "").await?;
    // A frozen process does not stop.
    postgres.freeze(&frozen, false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_waits_is_named() -> Result<()> {
    let mesh = Mesh::start(Arrangement { rabbitmq: false, apart: false, ..APART }).await?;
    ready(&mesh, 200, "").await?;
    let holder = Database::connect(mesh.database_url("orders")).await?.begin().await?;
    holder.execute_unprepared("SELECT 1 FROM leases WHERE name = 'writer' FOR UPDATE").await?;
    let named = ready(&mesh, 503, "the writer makes no progress").await?;
    ensure!(named.body["states"]["orders.database"] == "failed", "{}", named.text);
    holder.rollback().await?;
    ready(&mesh, 200, "").await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_waits_is_named() -> Result<()> {
    let mesh = Mesh::start(Arrangement { rabbitmq: false, apart: false, ..APART }).await?;
    mesh.account("alice", 1_000).await?;
    let elsewhere = Database::connect(mesh.database_url("orders")).await?;
    let holder = elsewhere.begin().await?;
    holder.execute_unprepared("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE").await?;
    let relay = async |state: &str, words: &str| {
        eventually("the state of the relay", PATIENCE, async || {
            // As whoever has written a message does.
            elsewhere.execute_unprepared("NOTIFY outbox").await?;
            let answer = mesh.admin("orders")?.get("/readyz").await?;
            let said = answer.body["parts"]["orders.relay"].as_str().unwrap_or_default();
            ensure!(
                answer.body["states"]["orders.relay"] == state && said.contains(words),
                "{}",
                answer.text
            );
            anyhow::Ok(())
        })
        .await
    };
    relay("degraded", "the outbox cannot be used").await?;
    holder.rollback().await?;
    relay("ok", "").await?;
    mesh.ended(&mesh.order("alice", 1).await?).await.map(drop)
}

/// It has no connection to the broker either, and the database is why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_gets_no_lease_names_the_database() -> Result<()> {
    let mut mesh = Mesh::start(Arrangement { rabbitmq: false, apart: false, ..APART }).await?;
    mesh.account("alice", 1_000).await?;
    mesh.ended(&mesh.order("alice", 1).await?).await?;
    mesh.stop().await?;
    let holder = Database::connect(mesh.database_url("orders")).await?.begin().await?;
    holder.execute_unprepared("SELECT 1 FROM leases WHERE name = 'outbox' FOR UPDATE").await?;
    mesh.start_again().await?;
    let id = mesh.order("alice", 1).await?;
    eventually("the cause", PATIENCE, async || {
        let stuck = admin(&mesh, "orders", &format!("/{id}:explain")).await?["stuck"].clone();
        let error = stuck["error"].as_str().unwrap_or_default();
        let is_named = error.starts_with("the outbox cannot be used: ");
        ensure!(stuck["cause"] == "ORDERS_DATABASE_AWAY" && is_named, "{stuck:#}");
        anyhow::Ok(())
    })
    .await?;
    let ready = mesh.admin("orders")?.get("/readyz").await?;
    let said = ready.body["parts"]["orders.relay"].as_str().unwrap_or_default();
    ensure!(said.contains("the outbox cannot be used"), "{}", ready.text);
    holder.rollback().await?;
    mesh.ended(&id).await.map(drop)
}

/// Waits until `/readyz` has this status and says this of the database of orders.
async fn ready(mesh: &Mesh, status: u16, words: &str) -> Result<Answer> {
    eventually("readiness to tell", PATIENCE, async || {
        let answer = mesh.admin("orders")?.get("/readyz").await?;
        let said = answer.body["parts"]["orders.database"].as_str().unwrap_or_default();
        ensure!(answer.status == status && said.contains(words), "{} {}", answer.status, answer.text);
        anyhow::Ok(answer)
    })
    .await
}

/// Freezes the server's processes for the connections of the mesh, each between two statements: one that is frozen while it writes holds
/// locks of the server itself (on its log), and nobody could write on any connection.
async fn freeze(postgres: &Postgres, elsewhere: &DatabaseConnection) -> Result<Vec<u32>> {
    let frozen = backends(elsewhere, "true").await?;
    postgres.freeze(&frozen, true)?;
    let busy = backends(elsewhere, "state <> 'idle'").await?;
    if !busy.is_empty() {
        postgres.freeze(&frozen, false)?;
        bail!("{busy:?} do something");
    }
    Ok(frozen)
}

/// The server's processes for those connections of the mesh.
async fn backends(elsewhere: &DatabaseConnection, which: &str) -> Result<Vec<u32>> {
    let of_ours =
        format!("SELECT pid FROM pg_stat_activity WHERE application_name = 'ordermesh' AND {which}");
    let rows = elsewhere.query_all_raw(Statement::from_string(DbBackend::Postgres, of_ours)).await?;
    rows.iter().map(|row| Ok(u32::try_from(row.try_get_by_index::<i32>(0)?)?)).collect()
}
