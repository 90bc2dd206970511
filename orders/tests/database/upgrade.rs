//! A rolling upgrade: rows as the version before has written them, in a schema as it has left it and beside this version.

use std::sync::Arc;

use anyhow::{Result, ensure};
use chassis::clock::Micros;
use messaging::{
    broker::{Broker, memory::MemoryBroker},
    envelope::Envelope,
    outbox::{self, Outbox},
    parked::{self, Filter},
    relay::Relay,
    topology::{Subscription, Topology},
};
use ordermesh::{orders::v1::OrderPlaced, payments::v1::VoidPayment};
use orders::{expiry::Expiry, store::schema::Migrations};
use prost::Name as _;
use sea_orm::{ConnectionTrait as _, Statement};
use storage::{Database, DatabaseUrl, Limits};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use world::{PATIENCE, Postgres, Scratch};

use crate::clock::At;

const PLACED: Micros = 1_700_000_000_000_000;
const EXPIRES: Micros = PLACED + 600_000_000;
const SECOND: Micros = 1_000_000;

/// The schema of the version before.
const BEFORE: [&str; 24] = [
    "ALTER TABLE parked DROP COLUMN repeats",
    "ALTER TABLE parked DROP COLUMN last_repeat_time",
    "DELETE FROM seaql_migrations WHERE version = 'm0014_messaging_counted_repeats'",
    "ALTER TABLE processes DROP COLUMN report",
    "DELETE FROM seaql_migrations WHERE version = 'm0013_messaging_reports'",
    "ALTER TABLE orders DROP COLUMN x_request_id",
    "DELETE FROM seaql_migrations WHERE version = 'm0007_placed_in'",
    "ALTER TABLE outbox DROP COLUMN subject",
    "ALTER TABLE outbox DROP COLUMN token_id",
    "ALTER TABLE parked DROP COLUMN subject",
    "ALTER TABLE parked DROP COLUMN token_id",
    "ALTER TABLE operator_actions DROP COLUMN subject",
    "ALTER TABLE operator_actions DROP COLUMN token_id",
    "ALTER TABLE operator_actions DROP COLUMN trace_id",
    "ALTER TABLE orders DROP COLUMN subject",
    "ALTER TABLE orders DROP COLUMN token_id",
    "DELETE FROM seaql_migrations WHERE version IN ('m0004_messaging_origins', 'm0005_placed_by')",
    "ALTER TABLE outbox DROP COLUMN tracestate",
    "ALTER TABLE parked DROP COLUMN tracestate",
    "DELETE FROM seaql_migrations WHERE version = 'm0003_messaging_tracestate'",
    "DROP INDEX orders_to_ask",
    "CREATE INDEX orders_to_expire ON orders (void_due_time) WHERE status = 1",
    "ALTER TABLE orders DROP COLUMN ask_due_time",
    "DELETE FROM seaql_migrations WHERE version = 'm0004_ask_due_time'",
];

#[tokio::test]
async fn orders_of_the_version_before_are_asked_about_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("upgrade")?;
    are_asked_about(DatabaseUrl::file(&scratch.path().join("orders.db"))).await
}

#[tokio::test]
async fn orders_of_the_version_before_are_asked_about_on_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    are_asked_about(postgres.fresh_database().await?.parse()?).await
}

async fn are_asked_about(url: DatabaseUrl) -> Result<()> {
    let database = Database::connect(&url, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    for sql in BEFORE {
        run(&database, Statement::from_string(database.backend(), sql)).await?;
    }
    place_as_before(&database, 1, EXPIRES).await?;
    // As an unreleased version did, whose column had two meanings.
    place_as_before(&database, 2, PLACED + 30 * SECOND).await?;
    database.migrate::<Migrations>().await?;
    // That version still runs.
    place_as_before(&database, 3, EXPIRES).await?;
    // What it would request the void of, had it looked now.
    let voided = format!("SELECT COUNT(*) FROM orders WHERE status = 1 AND void_due_time < {EXPIRES}");
    ensure!(number(&database, &voided).await? == 0);

    ensure!(asked(&database, PLACED + SECOND).await? == vec![OrderPlaced::full_name(); 3]);
    ensure!(asked(&database, PLACED + SECOND).await?.is_empty(), "each is put off");
    ensure!(asked(&database, EXPIRES).await? == vec![VoidPayment::full_name(); 3]);
    ensure!(number(&database, &voided).await? == 0);
    database.close().await;
    Ok(())
}

#[tokio::test]
async fn messages_of_the_version_before_are_published_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("upgrade")?;
    are_published(DatabaseUrl::file(&scratch.path().join("orders.db"))).await
}

#[tokio::test]
async fn messages_of_the_version_before_are_published_on_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    are_published(postgres.fresh_database().await?.parse()?).await
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Messages of this version and of the one before lie in one outbox, and in one table of parked messages, and each comes out as it was
/// written.
async fn are_published(url: DatabaseUrl) -> Result<()> {
    let database = Database::connect(&url, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    for sql in BEFORE {
        run(&database, Statement::from_string(database.backend(), sql)).await?;
    }
    write_as_before(&database, 1).await?;
    database.migrate::<Migrations>().await?;
    // That version still runs.
    write_as_before(&database, 2).await?;
    let payload = OrderPlaced::default();
    let message = |number: u128| Envelope::new(Uuid::from_u128(number), "alice", &payload, PLACED);
    let ours = message(3).with_trace(Some(TRACE.into()), Some("vendor=one,other=two"));
    let ours = ours.on_behalf_of(Some("alice"), Some("t-1"));
    let written = ours.clone();
    let write = database.transact(move |transaction| {
        let written = written.clone();
        Box::pin(async move { Outbox::new().write(transaction, &[written]).await })
    });
    write.await?;

    let before = |number| message(number).with_trace(Some(TRACE.into()), None);
    let expected = [before(1), before(2), ours];
    let broker = MemoryBroker::new(Topology::new("upgrade", 1, []));
    let everything = Subscription { consumer: "reader".into(), kinds: vec![OrderPlaced::full_name()] };
    let mut inflow = broker.subscribe(&everything, 0, 10).await?;
    let (stop, broker): (_, Arc<dyn Broker>) = (CancellationToken::new(), Arc::new(broker));
    let relay = tokio::spawn(Relay::new(database.clone(), Outbox::new(), broker, "").run(stop.clone()));
    let mut published = Vec::new();
    while published.len() < expected.len() {
        let received = timeout(PATIENCE, inflow.receive(expected.len() - published.len())).await??;
        for delivery in received {
            published.push(delivery.message.map_err(|other| anyhow::anyhow!("{other:?}"))?);
            inflow.ack_through(delivery.tag).await?;
        }
    }
    stop.cancel();
    relay.await?;
    ensure!(published == expected, "{published:?}");
    let parked = parked::list(database.read(), &Filter::default(), 0, 10).await?;
    let back: Option<Vec<Envelope>> = parked.iter().map(parked::Model::envelope).collect();
    ensure!(back.as_deref() == Some(&expected[..2]), "{parked:?}");
    ensure!(parked.iter().all(|row| row.repeats == 0), "{parked:?}");
    database.close().await;
    Ok(())
}

/// Writes a message into the outbox and parks it, as the version before does.
async fn write_as_before(database: &Database, id: u128) -> Result<()> {
    let kind = OrderPlaced::full_name();
    let write = format!(
        "INSERT INTO outbox (message_id, kind, partition_key, payload, traceparent, create_time, state, attempts, next_attempt_time)
         VALUES ($1, '{kind}', 'alice', $2, '{TRACE}', {PLACED}, 0, 0, 0)"
    );
    let park = format!(
        "INSERT INTO parked (consumer, state, message_id, kind, source, partition_key, payload, traceparent, create_time, error,
            attempts, park_time)
         VALUES ('orders', 0, $1, '{kind}', '', 'alice', $2, '{TRACE}', {PLACED}, 'refused', 1, {PLACED})"
    );
    for sql in [write, park] {
        let values = [Uuid::from_u128(id).into(), Vec::<u8>::new().into()];
        run(database, Statement::from_sql_and_values(database.backend(), sql, values)).await?;
    }
    Ok(())
}

/// Places an order as the version before does, which asks for its void at `void_due_time`.
async fn place_as_before(database: &Database, id: u128, void_due_time: Micros) -> Result<()> {
    let place = format!(
        "INSERT INTO orders (id, user_id, amount, currency_code, description, status, create_time, update_time, expire_time,
            void_due_time, version, change_number)
         VALUES ($1, 'alice', 7, 'RUB', '', 1, {PLACED}, {PLACED}, {EXPIRES}, {void_due_time}, 1, 1)"
    );
    let id = Uuid::from_u128(id).into();
    run(database, Statement::from_sql_and_values(database.backend(), place, [id])).await
}

async fn run(database: &Database, statement: Statement) -> Result<()> {
    let done = database.transact(move |transaction| {
        let statement = statement.clone();
        Box::pin(async move { transaction.execute_raw(statement).await.map(drop) })
    });
    Ok(done.await?)
}

/// The kinds of the requests that one look of the expiry sends; they leave the outbox.
async fn asked(database: &Database, now: Micros) -> Result<Vec<String>> {
    let clock = Arc::new(At(now));
    Expiry { database: database.clone(), outbox: Outbox::new(), clock }.step().await?;
    let sent = outbox::list(database.read()).await?;
    run(database, Statement::from_string(database.backend(), "DELETE FROM outbox")).await?;
    Ok(sent.into_iter().map(|row| row.kind).collect())
}

async fn number(database: &Database, sql: &str) -> Result<i64> {
    let row = database.read().query_one_raw(Statement::from_string(database.backend(), sql)).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get_by_index(0))?)
}
