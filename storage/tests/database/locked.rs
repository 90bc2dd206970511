//! A lock that somebody else holds: whoever waits for it is answered in time, and what nobody waits for any more is not done later.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{BoxFuture, join_all, try_join_all};
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
/// How long a lock is waited for.
const WAIT: Duration = Duration::from_secs(5);
/// Callers that wait for one, and how long after the one before each comes.
const CALLERS: i64 = 20;
const APART: Duration = Duration::from_millis(50);
/// How long a member takes that is tried alone: all of them take longer than a lock is waited for.
const ALONE: Duration = Duration::from_millis(400);

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

/// Those who come meanwhile wait with the first one, and not after it.
#[tokio::test]
async fn a_lock_is_waited_for_together_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("together")?;
    let file = scratch.path().join("together.db");
    let database = Database::connect(&DatabaseUrl::file(&file), Limits::default()).await?;
    create(&database).await?;
    let (group, writer) = GroupCommit::new(database.clone(), Insert);
    tokio::spawn(writer);
    let other = alone(&format!("sqlite://{}", file.display())).await?;
    other.execute_unprepared("BEGIN IMMEDIATE").await?;
    let all = try_join_all((0..CALLERS).map(|number| is_refused(&database, &group, number)));
    timeout(WAIT * 3 / 2, all).await.context("they wait one after the other")??;
    other.execute_unprepared("ROLLBACK").await?;
    transact(&database, 100).await?;
    group.submit(101).await?;
    ensure!(numbers(&database).await? == [100, 101], "{:?}", numbers(&database).await?);
    database.close().await;
    Ok(())
}

/// Refuses a group with a number below zero, and takes its time for a member alone.
struct Slow;

impl Batch for Slow {
    type Request = i64;
    type Reply = ();
    type Prepared = ();

    fn prepare(&self, _: DbBackend, _: &[i64]) -> Result<(), DbErr> {
        Ok(())
    }

    fn apply<'t>(
        &'t self,
        _: Executor<'t>,
        numbers: &'t [i64],
        _: &'t (),
    ) -> BoxFuture<'t, Result<Vec<()>, DbErr>> {
        Box::pin(async move {
            if numbers.iter().any(|number| *number < 0) {
                return Err(DbErr::Custom("a number below zero".to_owned()));
            }
            if numbers.len() == 1 {
                sleep(ALONE).await;
            }
            Ok(vec![(); numbers.len()])
        })
    }
}

/// What they wait for is their turn, and no lock.
#[tokio::test]
async fn members_of_a_refused_group_have_their_turn_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("turns")?;
    let url = DatabaseUrl::file(&scratch.path().join("turns.db"));
    let database = Database::connect(&url, Limits::default()).await?;
    let (group, writer) = GroupCommit::new(database.clone(), Slow);
    tokio::spawn(writer);
    let began = Instant::now();
    let numbers = (0..CALLERS).map(|number| if number == 5 { -1 } else { number });
    let outcomes = join_all(numbers.map(|number| group.submit(number))).await;
    ensure!(began.elapsed() > WAIT, "they have waited for {:?} alone", began.elapsed());
    let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    ensure!(matches!(failed[..], [Failure::Refused(_)]), "{failed:?}");
    database.close().await;
    Ok(())
}

/// A caller who comes after those with lower numbers: every other one alone, the others in groups.
async fn is_refused(database: &Database, group: &GroupCommit<Insert>, number: i64) -> Result<()> {
    sleep(APART * u32::try_from(number)?).await;
    let outcome = if number % 2 == 0 { group.submit(number).await } else { transact(database, number).await };
    let is_refused = matches!(outcome, Err(Failure::Contention(_) | Failure::Unavailable(_)));
    ensure!(is_refused, "{number}: {outcome:?}");
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
