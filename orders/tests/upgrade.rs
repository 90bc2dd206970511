//! A rolling upgrade: rows as the version before has written them, in a schema as it has left it and beside this version.

use std::sync::Arc;

use anyhow::{Result, ensure};
use chassis::clock::{Clock, Micros, SystemClock};
use messaging::outbox::{self, Outbox};
use ordermesh::{orders::v1::OrderPlaced, payments::v1::VoidPayment};
use orders::{expiry::Expiry, store::schema::Migrations};
use prost::Name as _;
use sea_orm::{ConnectionTrait as _, Statement};
use storage::{Database, DatabaseUrl, Limits};
use uuid::Uuid;
use world::{Postgres, Scratch};

const PLACED: Micros = 1_700_000_000_000_000;
const EXPIRES: Micros = PLACED + 600_000_000;
const SECOND: Micros = 1_000_000;

/// The schema of the version before.
const BEFORE: [&str; 4] = [
    "DROP INDEX orders_to_ask",
    "CREATE INDEX orders_to_expire ON orders (void_due_time) WHERE status = 1",
    "ALTER TABLE orders DROP COLUMN ask_due_time",
    "DELETE FROM seaql_migrations WHERE version = 'm0004_ask_due_time'",
];

#[derive(Debug)]
struct At(Micros);

impl Clock for At {
    fn now(&self) -> Micros {
        self.0
    }

    fn new_id(&self) -> Uuid {
        SystemClock.new_id()
    }
}

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
