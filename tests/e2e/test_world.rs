//! The test world itself: what it starts works, survives a crash with its data, and ends with its test.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use tokio::time::timeout;

use world::{PATIENCE, Port, Postgres, Program, RabbitMq, Scratch, eventually};

#[tokio::test]
async fn postgres_keeps_what_it_confirmed_through_a_crash() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    postgres.create_database("ledger").await?;
    let before = Database::connect(postgres.url("ledger")).await?;
    before.execute_unprepared("CREATE TABLE entries (amount BIGINT)").await?;
    before.execute_unprepared("INSERT INTO entries VALUES (17), (25)").await?;

    postgres.kill().await?;
    let attempt = timeout(Duration::from_secs(1), before.execute_unprepared("SELECT 1"));
    ensure!(!matches!(attempt.await, Ok(Ok(_))), "a killed server answered");
    postgres.start_again().await?;

    let sum = Statement::from_string(DbBackend::Postgres, "SELECT sum(amount)::bigint AS sum FROM entries");
    let after = Database::connect(postgres.socket_url("ledger")).await?;
    let row = after.query_one_raw(sum).await?.context("a sum has a row")?;
    ensure!(row.try_get::<i64>("", "sum")? == 42);
    Ok(())
}

#[tokio::test]
async fn postgres_gives_each_caller_a_database_of_its_own() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let (one, other) = (postgres.fresh_database().await?, postgres.fresh_database().await?);
    Database::connect(&one).await?.execute_unprepared("CREATE TABLE entries (amount BIGINT)").await?;
    Database::connect(&other).await?.execute_unprepared("CREATE TABLE entries (amount BIGINT)").await?;
    postgres.stop().await?;
    ensure!(postgres.stop().await.is_err(), "it was stopped already");
    postgres.start_again().await?;
    Database::connect(&one).await?.execute_unprepared("SELECT * FROM entries").await?;
    Ok(())
}

#[tokio::test]
async fn rabbitmq_keeps_what_it_confirmed_through_a_crash() -> Result<()> {
    let mut rabbitmq = RabbitMq::start().await?;
    let channel = open(&rabbitmq).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let sent = channel.basic_publish(
        "".into(),
        "orders".into(),
        BasicPublishOptions::default(),
        b"order 1",
        BasicProperties::default().with_delivery_mode(2),
    );
    ensure!(matches!(sent.await?.await?, Confirmation::Ack(None)));
    rabbitmq.remembers("orders").await?;

    rabbitmq.kill().await?;
    rabbitmq.start_again().await?;

    let channel = open(&rabbitmq).await?;
    let message = eventually("the message", PATIENCE, async || {
        let got = channel.basic_get("orders".into(), BasicGetOptions { no_ack: true }).await?;
        got.context("an empty queue")
    });
    ensure!(message.await?.data == b"order 1");
    rabbitmq.stop().await
}

/// Each has the name of a queue to itself, in a broker that neither can end.
#[tokio::test]
async fn tests_that_share_a_broker_see_nothing_of_each_other() -> Result<()> {
    let (mut one, other) = (RabbitMq::shared().await?, RabbitMq::shared().await?);
    let address = |broker: &RabbitMq| broker.amqp_url().rsplit_once('/').map(|(server, _)| server.to_owned());
    ensure!(address(&one) == address(&other), "two brokers");
    open(&one).await?;
    let list = ["-q", "list_queues", "--no-table-headers", "name"];
    let (ours, theirs) = (one.control(&list).await?, other.control(&list).await?);
    ensure!((ours.trim(), theirs.trim()) == ("orders", ""), "{ours:?} {theirs:?}");
    for ended in [one.stop().await, one.kill().await] {
        ensure!(format!("{ended:?}").contains("other tests use this RabbitMQ"), "{ended:?}");
    }
    let url = one.amqp_url();
    drop(one);
    eventually("the end of its virtual host", PATIENCE, async || {
        match Connection::connect(&url, ConnectionProperties::default()).await {
            Ok(_) => bail!("it is still there"),
            Err(refused) if refused.to_string().contains("NOT_ALLOWED") => Ok(()),
            Err(seen) => Err(seen.into()),
        }
    })
    .await?;
    open(&other).await.map(drop)
}

async fn open(rabbitmq: &RabbitMq) -> Result<Channel> {
    let connection = Connection::connect(&rabbitmq.amqp_url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare("orders".into(), QueueDeclareOptions::durable(), quorum).await?;
    Ok(channel)
}

/// Set in the copy of this test binary that is killed.
const VICTIM: &str = "ORDERMESH_TEST_VICTIM";

#[tokio::test]
async fn nothing_outlives_a_killed_test() -> Result<()> {
    if std::env::var_os(VICTIM).is_some() {
        return be_killed().await;
    }
    let everything = Scratch::new("victim")?;
    // PostgreSQL's user has to reach its directory inside.
    fs::set_permissions(everything.path(), fs::Permissions::from_mode(0o755))?;
    let place = everything.path().to_str().context("a path in UTF-8")?;
    let mut victim = Program::at(&std::env::current_exe()?)
        .args(["test_world::nothing_outlives_a_killed_test", "--exact", "--nocapture"])
        .env(VICTIM, "1")
        .env("TMPDIR", place)
        .start()?;
    victim.line_within("started", Duration::from_secs(180)).await?;
    ensure!(users_of(everything.path()).len() > 8, "a broker, a database and their helpers run there");

    victim.kill9().await?;
    eventually("the end of all that the killed test had started", PATIENCE, async || {
        match users_of(everything.path()).as_slice() {
            [] => Ok(()),
            left => bail!("{left:?}"),
        }
    })
    .await?;
    let left = fs::read_dir(everything.path())?.flatten().map(|entry| entry.file_name());
    let runs = left.filter(|name| name.to_string_lossy().contains("-run-")).count();
    ensure!(runs == 0, "the folder of the shared broker is still there");
    Ok(())
}

async fn be_killed() -> Result<()> {
    let _world = (Postgres::start().await?, RabbitMq::start().await?, RabbitMq::shared().await?);
    eprintln!("started");
    std::future::pending().await
}

/// The processes that have a file below `folder` open, by their command.
fn users_of(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let others = ids.filter(|id| *id != std::process::id()).map(|id| PathBuf::from(format!("/proc/{id}")));
    let uses = |process: &PathBuf| {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        open.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file.starts_with(folder))
    };
    let command = |process: PathBuf| fs::read_to_string(process.join("comm")).unwrap_or_default();
    others.filter(uses).map(|process| command(process).trim_end().to_owned()).collect()
}

#[tokio::test]
async fn a_process_is_heard_asked_to_stop_and_killed() -> Result<()> {
    let script = "echo starting; echo listening http=127.0.0.1:4123 grpc=127.0.0.1:5001; \
                  trap 'echo bye; exit 3' TERM; while :; do sleep 0.01; done";
    let shell = Program::at(Path::new("/bin/sh")).args(["-c", script]);

    let mut polite = shell.start()?;
    ensure!(polite.address("grpc").await?.port() == 5001);
    polite.terminate()?;
    ensure!(polite.wait(PATIENCE).await?.code() == Some(3));
    ensure!(polite.output().ends_with("bye\n"));

    let mut crashed = shell.start()?;
    crashed.line("listening").await?;
    ensure!(crashed.kill9().await?.code().is_none());
    let error = crashed.line("never").await.err().context("a line that never came")?;
    ensure!(format!("{error:#}").contains("listening http="), "the end of the output is missing: {error:#}");
    Ok(())
}

#[tokio::test]
async fn a_missing_binary_says_what_to_build() {
    let error = Program::named("no-such-binary").expect_err("it does not exist");
    assert!(error.to_string().ends_with("run cargo build --workspace first"), "{error}");
}

#[tokio::test]
async fn ports_are_distinct_while_they_are_held() -> Result<()> {
    let ports = (0..100).map(|_| Port::reserve()).collect::<Result<Vec<_>>>()?;
    let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    ensure!(numbers.len() == ports.len());
    Ok(())
}

#[tokio::test]
async fn patience_ends_with_what_was_seen_last() {
    let outcome = eventually("a miracle", Duration::from_millis(50), async || Err::<(), _>("water"));
    let error = outcome.await.expect_err("no miracle");
    assert!(error.to_string().contains("for a miracle; last seen: water"), "{error}");
}
