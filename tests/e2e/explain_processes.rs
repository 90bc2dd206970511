//! Of several processes each knows what keeps the others from their work, and how many messages they handle.

use anyhow::{Context as _, Result, ensure};
use ordermesh::{
    messaging::v1::{
        GetMessagingStatusRequest,
        messaging_admin_service_client::MessagingAdminServiceClient,
        part_state::{Cause, Condition},
    },
    payments::v1::{ExplainPaymentRequest, payments_admin_service_client::PaymentsAdminServiceClient},
};
use sea_orm::{ConnectionTrait as _, Database, TransactionTrait as _};
use world::{PATIENCE, Program, eventually};

use crate::{
    admin_json::with_token,
    mesh::{ADMIN_TOKEN, APART, Mesh},
};

#[tokio::test]
async fn the_one_that_stands_by_knows_what_blocks_the_other() -> Result<()> {
    let mesh = Mesh::start_with(APART, &[("ADMIN_TOKEN", ADMIN_TOKEN.to_owned())]).await?;
    mesh.account("alice", 1_000).await?;
    // Whoever has subscribed first consumes.
    let first = mesh.order("alice", 1).await?;
    mesh.ended(&first).await?;
    let amqp_url = mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")?.amqp_url();
    let mut other = Program::named("payments")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env("DATABASE_URL", mesh.database_url("payments"))
        .env("AMQP_URL", amqp_url)
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .start()?;
    let url = format!("http://{}", other.address("payments-grpc").await?);
    let payments = PaymentsAdminServiceClient::connect(url.clone()).await?;

    let database = Database::connect(mesh.database_url("payments")).await?;
    let lock = database.begin().await?;
    lock.execute_unprepared("SELECT * FROM accounts WHERE user_id = 'alice' FOR UPDATE").await?;
    let blocked = mesh.order("alice", 1).await?;
    eventually("what blocks the other process", PATIENCE, async || {
        let request = ExplainPaymentRequest {
            order_id: blocked.clone(),
            user_id: "alice".to_owned(),
            message_ids: Vec::new(),
        };
        let explained = payments.clone().explain_payment(with_token(request)?).await?.into_inner();
        let consumer = explained.whereabouts.and_then(|found| found.consumer).context("a consumer")?;
        let state = consumer.state.context("a state")?;
        ensure!(state.condition() == Condition::Degraded && state.cause() == Cause::Messages, "{state:?}");
        ensure!(!state.reason.is_empty() && state.since.is_some(), "{state:?}");
        anyhow::Ok(())
    })
    .await?;
    lock.rollback().await?;
    mesh.ended(&blocked).await?;

    let status = MessagingAdminServiceClient::connect(url).await?;
    eventually("the rate of the other process", PATIENCE, async || {
        let order = mesh.order("alice", 1).await?;
        mesh.ended(&order).await?;
        let said = status.clone().get_messaging_status(with_token(GetMessagingStatusRequest {})?).await?;
        let said = said.into_inner();
        let [consumer] = &said.consumers[..] else { anyhow::bail!("{said:?}") };
        ensure!(consumer.state.as_ref().is_some_and(|state| state.condition() == Condition::Ok), "{said:?}");
        let relay = said.relay.as_ref().context("a relay")?;
        ensure!(consumer.per_second > 0.0 && relay.per_second > 0.0, "{said:?}");
        anyhow::Ok(())
    })
    .await?;
    drop((payments, status));
    other.terminate()?;
    ensure!(other.wait(PATIENCE).await?.success(), "{}", other.output());
    database.close().await?;
    Ok(())
}
