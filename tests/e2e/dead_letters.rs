//! Payments dies again and again while it may not write: the broker gives its messages up, and nothing of them is lost.

use anyhow::{Context as _, Result, ensure};
use lapin::{Channel, Connection, ConnectionProperties, options::QueueDeclareOptions, types::FieldTable};
use ordermesh::messaging::v1::{
    GetMessagingStatusRequest, ListParkedMessagesRequest, MessagingStatus, RedriveParkedMessagesRequest,
    messaging_admin_service_client::MessagingAdminServiceClient,
};
use sea_orm::{ConnectionTrait as _, Database, TransactionTrait as _};
use tonic::{Request, transport::Endpoint};
use world::{PATIENCE, Program, eventually};

use crate::{
    mesh::{ADMIN_TOKEN, APART, Mesh},
    scrape::Scrape,
};

/// One more than the broker's limit.
const DEATHS: usize = 21;
const ORDERS: usize = 5;
const PRICE: i64 = 10;

const QUEUE: &str = "ordermesh.events.payments.0";
const DEAD: &str = "ordermesh.events.payments.dead";

#[tokio::test]
async fn orders_that_the_broker_gave_up_are_seen_parked_and_finish_when_redriven() -> Result<()> {
    let mut mesh = Mesh::start_with(APART, &[("ADMIN_TOKEN", ADMIN_TOKEN.to_owned())]).await?;
    mesh.account("alice", 1_000).await?;
    let first = mesh.order("alice", PRICE).await?;
    mesh.ended(&first).await?;

    let database = Database::connect(mesh.database_url("payments")).await?;
    let lock = database.begin().await?;
    lock.execute_unprepared("LOCK TABLE payments IN SHARE ROW EXCLUSIVE MODE").await?;
    let mut ids = Vec::new();
    for _ in 0..ORDERS {
        ids.push(mesh.order("alice", PRICE).await?);
    }
    die_again_and_again(&mut mesh, &database).await?;
    // Seen by the one that lives, before anybody has parked them.
    eventually("the dead letters", PATIENCE, async || {
        let status = status(&format!("http://{}", mesh.orders)).await?;
        ensure!(status.dead_letters == 5, "{status:?}");
        let scrape = Scrape::of(mesh.admin("orders")?).await?;
        let waiting = scrape.number("messaging_dead_letters", &[("queue", DEAD)])?;
        ensure!((waiting - 5.0).abs() < f64::EPSILON, "{waiting}");
        anyhow::Ok(())
    })
    .await?;
    let output = mesh.output("orders")?;
    ensure!(output.contains("the broker has given messages up"), "{output}");

    let mut payments = program(&mesh)?.start()?;
    let url = format!("http://{}", payments.address("payments-grpc").await?);
    mesh.processes[1] = payments;
    eventually("the parked messages", PATIENCE, async || {
        let status = status(&url).await?;
        ensure!(status.parked == 5 && status.dead_letters == 0, "{status:?}");
        anyhow::Ok(())
    })
    .await?;
    ensure!(check(&mesh, &url).await?.contains("5 parked"), "the check tells of them");

    lock.rollback().await?;
    let mut admin = MessagingAdminServiceClient::new(Endpoint::from_shared(url)?.connect().await?);
    let parked = admin.list_parked_messages(with_token(ListParkedMessagesRequest::default())?).await?;
    for message in parked.into_inner().messages {
        ensure!(
            message.error.starts_with("dead letter: ") && message.error.contains(QUEUE),
            "{}",
            message.error
        );
    }
    let all = RedriveParkedMessagesRequest { operator: "test".into(), ..Default::default() };
    ensure!(admin.redrive_parked_messages(with_token(all)?).await?.into_inner().redriven == 5);
    for id in &ids {
        let order = mesh.ended(id).await?;
        ensure!(order["status"] == "FINISHED", "{order}");
    }
    let paid = mesh.count("payments", "SELECT COUNT(*) FROM payments WHERE outcome = 1").await?;
    ensure!(usize::try_from(paid)? == ORDERS + 1, "{paid} are paid");
    mesh.at_rest().await
}

/// Kills payments whenever it has all orders and waits for the database.
async fn die_again_and_again(mesh: &mut Mesh, database: &sea_orm::DatabaseConnection) -> Result<()> {
    let url = mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")?.amqp_url();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let program = program(mesh)?;
    for death in 0..DEATHS {
        eventually(&format!("the orders at payments before death {death}"), PATIENCE, async || {
            let (ready, consumers) = depth(&channel, QUEUE).await?;
            ensure!(ready == 0 && consumers == 1, "{ready} wait for {consumers}");
            Ok(())
        })
        .await?;
        mesh.processes[1].kill9().await?;
        // What it had sent would be done once it may, though nobody waits for it any more.
        let orphans = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = 'payments' AND wait_event_type = 'Lock'";
        database.execute_unprepared(orphans).await?;
        eventually("the end of its connection", PATIENCE, async || {
            let (_, consumers) = depth(&channel, QUEUE).await?;
            ensure!(consumers == 0, "still connected");
            Ok(())
        })
        .await?;
        if death + 1 < DEATHS {
            mesh.processes[1] = program.start()?;
        }
    }
    Ok(())
}

/// Messages that wait in a queue, and its consumers.
async fn depth(channel: &Channel, queue: &str) -> Result<(u32, u32)> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
    Ok((queue.message_count(), queue.consumer_count()))
}

fn program(mesh: &Mesh) -> Result<Program> {
    let rabbitmq = mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")?;
    Ok(Program::named("payments")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env("DATABASE_URL", mesh.database_url("payments"))
        .env("AMQP_URL", rabbitmq.amqp_url())
        .env("ADMIN_TOKEN", ADMIN_TOKEN))
}

fn with_token<T>(message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {ADMIN_TOKEN}").parse()?);
    Ok(request)
}

async fn status(url: &str) -> Result<MessagingStatus> {
    let channel = Endpoint::from_shared(url.to_owned())?.connect().await?;
    let request = with_token(GetMessagingStatusRequest {})?;
    Ok(MessagingAdminServiceClient::new(channel).get_messaging_status(request).await?.into_inner())
}

/// What `ordermesh check` says.
async fn check(mesh: &Mesh, payments_url: &str) -> Result<String> {
    let mut checker = Program::named("ordermesh")?
        .args(["check".to_owned(), "--orders-url".to_owned(), format!("http://{}", mesh.orders)])
        .args(["--payments-url".to_owned(), payments_url.to_owned()])
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .start()?;
    ensure!(!checker.wait(PATIENCE).await?.success(), "{}", checker.output());
    Ok(checker.output())
}
