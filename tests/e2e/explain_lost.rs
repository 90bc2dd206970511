//! What was lost is not said to be handled, whatever else is, and what the broker refuses not to go on by itself.

use anyhow::{Context as _, Result, ensure};
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::json;
use world::{PATIENCE, RabbitMq, eventually};

use crate::{
    admin_cli::POISON,
    explain::{explain, is_stuck, says},
    mesh::{ADMIN_TOKEN, APART, Arrangement, EMBEDDED, Mesh},
    paused::Paused,
};

/// Nothing asks about an order again by itself: that would heal what is lost.
async fn ask_no_more(mesh: &Mesh) -> Result<()> {
    mesh.tamper("orders", "UPDATE orders SET ask_due_time = ask_due_time + 3600000000 WHERE status = 1").await
}

/// Of two orders in the queue of a paused consumer each is lost; the consumer goes on with others, and those before them have ended lately.
#[tokio::test]
async fn what_was_purged_is_not_said_to_be_handled() -> Result<()> {
    let mesh = Mesh::start_with(APART, &[("ADMIN_TOKEN", ADMIN_TOKEN.to_owned())]).await?;
    mesh.account("alice", 1_000).await?;
    let before = mesh.order("alice", 1).await?;
    mesh.ended(&before).await?;
    let paused = Paused::consumer(&mesh, "payments", "", "a loss").await?;
    let _first = mesh.order("alice", 1).await?;
    let lost = mesh.order("alice", 1).await?;
    ask_no_more(&mesh).await?;
    let rabbitmq = mesh.rabbitmq.as_ref().context("a broker")?;
    eventually("both in the queue", PATIENCE, async || {
        let queues = rabbitmq.control(&["-q", "list_queues", "name", "messages"]).await?;
        let has_both = queues.lines().any(|line| line.trim() == "ordermesh.events.payments.0\t2");
        ensure!(has_both, "{queues}");
        anyhow::Ok(())
    })
    .await?;
    rabbitmq.control(&["-q", "purge_queue", "ordermesh.events.payments.0"]).await?;
    paused.resume().await?;
    // As though one before them had ended only just now.
    mesh.tamper(
        "orders",
        &format!("UPDATE orders SET update_time = update_time + 60000000 WHERE id = '{before}'"),
    )
    .await?;
    let stuck = eventually("an order that came later and has ended", 2 * PATIENCE, async || {
        let later = mesh.order("alice", 1).await?;
        mesh.ended(&later).await?;
        let stuck = explain(&mesh, &lost).await?["stuck"].clone();
        says(&stuck, "orders of its partition that were placed later have ended")?;
        anyhow::Ok(stuck)
    })
    .await?;
    ensure!(stuck["cause"] == "NOT_ANSWERED" && stuck["nextAttemptTime"].is_string(), "{stuck:#}");
    ensure!(stuck["estimate"].is_null(), "{stuck:#}");
    Ok(())
}

#[tokio::test]
async fn of_a_discarded_message_is_said_who_did_it_and_why() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.tamper("payments", POISON).await?;
    mesh.account("poison", 10).await?;
    let id = mesh.order("poison", 1).await?;
    is_stuck(&mesh, &id, "PARKED").await?;
    ask_no_more(&mesh).await?;
    let discard =
        json!({ "filter": { "partitionKey": "poison" }, "operator": "olga", "reason": "it was a test" });
    let operator = mesh.admin("payments")?.with_token(ADMIN_TOKEN);
    let discarded = operator.post("/admin/v1/payments/parked:discard", &discard).await?;
    ensure!(discarded.status == 200, "{}", discarded.text);
    let stuck = is_stuck(&mesh, &id, "NOT_ANSWERED").await?;
    says(&stuck, "olga has discarded 1 parked messages of payments since")?;
    says(&stuck, "it was a test")
}

#[tokio::test]
async fn a_virtual_host_that_is_missing_is_for_somebody_to_create() -> Result<()> {
    let rabbitmq = RabbitMq::start().await?;
    let url = rabbitmq.amqp_url().replace("/%2f", "/missing");
    let mesh = Mesh::start_with(EMBEDDED, &[("AMQP_URL", url)]).await?;
    mesh.account("alice", 100).await?;
    let id = mesh.order("alice", 1).await?;
    let stuck = is_stuck(&mesh, &id, "BROKER_REFUSES").await?;
    says(&stuck, "the broker refuses the relay of orders, and somebody has to act")?;
    says(&stuck, "create the virtual host")?;
    ensure!(stuck["service"] == "broker" && stuck["since"].is_string(), "{stuck:#}");
    rabbitmq.control(&["add_vhost", "missing"]).await?;
    rabbitmq.control(&["set_permissions", "-p", "missing", "guest", ".*", ".*", ".*"]).await?;
    mesh.ended(&id).await?;
    Ok(())
}

#[tokio::test]
async fn it_is_said_whose_database_is_away() -> Result<()> {
    let mesh = Mesh::start(Arrangement { rabbitmq: false, apart: false, ..APART }).await?;
    mesh.account("alice", 100).await?;
    let id = mesh.order("alice", 1).await?;
    mesh.ended(&id).await?;
    let server = Database::connect(mesh.postgres.as_ref().context("a server")?.url("postgres")).await?;
    server.execute_unprepared("ALTER DATABASE orders ALLOW_CONNECTIONS false").await?;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'orders'";
    server.execute_unprepared(cut).await?;
    let orders = mesh.admin("orders")?.with_token(ADMIN_TOKEN);
    eventually("the error", PATIENCE, async || {
        let answer = orders.get(&format!("/admin/v1/orders/{id}:explain")).await?;
        let said = answer.body["detail"].as_str().unwrap_or_default();
        ensure!(
            answer.status == 503 && said.contains("the database of orders is not available"),
            "{}",
            answer.text
        );
        anyhow::Ok(())
    })
    .await?;
    server.execute_unprepared("ALTER DATABASE orders ALLOW_CONNECTIONS true").await?;
    server.close().await?;
    Ok(())
}
