//! A lock that somebody else holds: whoever waits for it is answered in time, and what nobody waits for any more is not done later.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::BoxFuture;
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use storage::{
    Database, DatabaseUrl, Executor, Failure, Limits,
    group::{Batch, GroupCommit},
};
use tokio::{
    join,
    time::{Instant, sleep, timeout},
};
use world::{Postgres, Scratch};

/// How long the callers wait who go away.
const SHORT: Duration = Duration::from_millis(500);
/// How long the lock is held beyond that.
const HELD: Duration = Duration::from_secs(1);

struct Insert;

impl Batch for Insert {
    type Request = i64;
    type Reply = ();
    type Prepared = ();

    fn prepare(&self, _: DbBackend, _: &[i64]) -> Result<(), DbErr> {
        Ok(())
    }

    fn apply<'t>(
        &'t self,
        executor: Executor<'t>,
        numbers: &'t [i64],
        _: &'t (),
    ) -> BoxFuture<'t, Result<Vec<()>, DbErr>> {
        Box::pin(async move {
            for number in numbers {
                insert(&executor, *number).await?;
            }
            Ok(vec![(); numbers.len()])
        })
    }
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_done_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("locked")?;
    let file = scratch.path().join("locked.db");
    let database = Database::connect(&DatabaseUrl::file(&file), Limits::default()).await?;
    create(&database).await?;
    let (group, writer) = GroupCommit::new(database.clone(), Insert);
    tokio::spawn(writer);
    let other = alone(&format!("sqlite://{}", file.display())).await?;

    // A group of two: one of them goes.
    let held = async {
        other.execute_unprepared("BEGIN IMMEDIATE").await?;
        let outcomes = join!(timeout(SHORT, group.submit(1)), group.submit(2), async {
            sleep(SHORT + HELD).await;
            other.execute_unprepared("ROLLBACK").await
        });
        anyhow::Ok(outcomes)
    };
    let (gone, stays, released) = held.await?;
    released?;
    gone.expect_err("the lock was held");
    stays?;
    ensure!(numbers(&database).await? == [2], "{:?}", numbers(&database).await?);

    // A transaction that waits for the lock, and one that waits behind it.
    other.execute_unprepared("BEGIN IMMEDIATE").await?;
    let (first, second) =
        join!(timeout(SHORT, transact(&database, 3)), timeout(SHORT, transact(&database, 4)));
    ensure!(first.is_err() && second.is_err(), "the lock was held");
    sleep(HELD).await;
    other.execute_unprepared("ROLLBACK").await?;
    transact(&database, 5).await?;
    ensure!(numbers(&database).await? == [2, 5], "{:?}", numbers(&database).await?);
    database.close().await;
    Ok(())
}

#[tokio::test]
async fn a_lock_is_waited_for_once_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("waited")?;
    let file = scratch.path().join("waited.db");
    let database = Database::connect(&DatabaseUrl::file(&file), Limits::default()).await?;
    create(&database).await?;
    let (group, writer) = GroupCommit::new(database.clone(), Insert);
    tokio::spawn(writer);
    let other = alone(&format!("sqlite://{}", file.display())).await?;
    other.execute_unprepared("BEGIN IMMEDIATE").await?;
    let began = Instant::now();
    let outcome =
        timeout(Duration::from_secs(8), group.submit(1)).await.context("still waiting after 8 s")?;
    let took = began.elapsed();
    ensure!(matches!(outcome, Err(Failure::Contention(_))), "{outcome:?}");
    ensure!((4..7).contains(&took.as_secs()), "the error came after {took:?}");
    other.execute_unprepared("ROLLBACK").await?;
    group.submit(2).await?;
    ensure!(numbers(&database).await? == [2], "{:?}", numbers(&database).await?);
    database.close().await;
    Ok(())
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_done_on_postgres() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    let database = Database::connect(&url.parse()?, Limits::default()).await?;
    create(&database).await?;
    let other = alone(&url).await?;
    // The other one holds the key that both want, and does not take it in the end.
    other.execute_unprepared("BEGIN").await?;
    other.execute_unprepared("INSERT INTO numbers VALUES (1)").await?;
    timeout(SHORT, transact(&database, 1)).await.expect_err("the key is held");
    sleep(HELD).await;
    other.execute_unprepared("ROLLBACK").await?;
    // Behind it, if it were applied: the key would be there twice.
    transact(&database, 1).await?;
    database.close().await;
    postgres.stop().await
}

/// One session, for statements that hold a lock until another one.
async fn alone(url: &str) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1);
    sea_orm::Database::connect(options).await
}

async fn create(database: &Database) -> Result<(), Failure> {
    let created = database.transact(|transaction| {
        Box::pin(async move {
            let table = "CREATE TABLE numbers (number BIGINT PRIMARY KEY)";
            transaction.execute_unprepared(table).await.map(drop)
        })
    });
    created.await
}

async fn transact(database: &Database, number: i64) -> Result<(), Failure> {
    let inserted =
        database.transact(move |transaction| Box::pin(async move { insert(transaction, number).await }));
    inserted.await
}

async fn insert(connection: &impl ConnectionTrait, number: i64) -> Result<(), DbErr> {
    let sql = "INSERT INTO numbers (number) VALUES ($1)";
    let backend = connection.get_database_backend();
    connection.execute_raw(Statement::from_sql_and_values(backend, sql, [number.into()])).await.map(drop)
}

async fn numbers(database: &Database) -> Result<Vec<i64>> {
    let all = Statement::from_string(database.backend(), "SELECT number FROM numbers ORDER BY number");
    let rows = database.read().query_all_raw(all).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
}
