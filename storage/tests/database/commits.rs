//! A COMMIT of SQLite that fails and leaves its transaction open: what was acknowledged is there, what was not is not, and the connection on
//! which it has failed is not used again.

use std::{env, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use sea_orm::{ConnectOptions, ConnectionTrait as _, DatabaseConnection, Statement};
use storage::{Database, DatabaseUrl, Failure, Limits};
use world::{PATIENCE, Program, Scratch, eventually};

/// Without a WAL, a COMMIT waits for those who read, for as long as a lock is waited for.
#[tokio::test]
async fn one_that_is_busy_leaves_nothing_and_stops_nobody() -> Result<()> {
    let scratch = Scratch::new("busy")?;
    let file = scratch.path().join("busy.db");
    let database = open(&file).await?;
    write(&database, "INSERT INTO numbers VALUES (1)").await?;
    leave_wal(&database).await?;
    let reader = elsewhere(&file).await?;
    reader.execute_unprepared("BEGIN; SELECT COUNT(*) FROM numbers").await?;
    let busy = write(&database, "INSERT INTO numbers VALUES (2)").await.expect_err("somebody reads");
    ensure!(matches!(busy, Failure::Contention(_)) && said(&busy).contains("locked"), "{busy:?}");
    reader.execute_unprepared("ROLLBACK").await?;
    write(&database, "INSERT INTO numbers VALUES (3)").await?;
    ensure!(numbers(&reader).await? == [1, 3], "{:?}", numbers(&reader).await?);
    database.close().await;
    ensure!(numbers(&reader).await? == [1, 3], "{:?}", numbers(&reader).await?);
    Ok(())
}

/// Nobody can interrupt the process but itself: it runs again with that in the third COMMIT.
#[tokio::test]
async fn one_that_is_interrupted_leaves_nothing_and_stops_nobody() -> Result<()> {
    if env::var_os("FAILPOINTS").is_none() {
        let test = "commits::one_that_is_interrupted_leaves_nothing_and_stops_nobody";
        let test = Program::at(&env::current_exe()?).args([test, "--exact"]);
        let mut test = test.env("FAILPOINTS", "commit_interrupted=2*off->1*return->off").start()?;
        let ended = test.wait(PATIENCE).await?;
        ensure!(ended.success() && test.output().contains("1 passed"), "{}", test.output());
        return Ok(());
    }
    let scratch = Scratch::new("interrupted")?;
    let file = scratch.path().join("interrupted.db");
    let database = open(&file).await?;
    write(&database, "INSERT INTO numbers VALUES (1)").await?;
    let interrupted = write(&database, "INSERT INTO numbers VALUES (2)").await.expect_err("interrupted");
    // SQLite does not say whether it has written the commit to the file before.
    ensure!(matches!(interrupted, Failure::Unknown(_)), "{interrupted:?}");
    ensure!(said(&interrupted).contains("interrupted"), "{interrupted:?}");
    write(&database, "INSERT INTO numbers VALUES (3)").await?;
    let reader = elsewhere(&file).await?;
    ensure!(numbers(&reader).await? == [1, 3], "{:?}", numbers(&reader).await?);
    database.close().await;
    ensure!(numbers(&reader).await? == [1, 3], "{:?}", numbers(&reader).await?);
    Ok(())
}

/// A database with one table, in one transaction.
async fn open(file: &Path) -> Result<Database> {
    let database = Database::connect(&DatabaseUrl::file(file), Limits::default()).await?;
    write(&database, "CREATE TABLE numbers (number INTEGER PRIMARY KEY)").await?;
    Ok(database)
}

async fn write(database: &Database, sql: &'static str) -> Result<(), Failure> {
    let written = database.transact(move |transaction| {
        Box::pin(async move { transaction.execute_unprepared(sql).await.map(drop) })
    });
    written.await
}

/// The writer's own connection leaves it, which takes that it is the only one: one that reads is closed after an error.
async fn leave_wal(database: &Database) -> Result<()> {
    database.read().execute_unprepared("SELECT * FROM nothing").await.expect_err("there is no such table");
    eventually("a database without a WAL", PATIENCE + Duration::from_secs(5), async || {
        let left = database.execute(|executor| {
            let leave =
                Statement::from_string(executor.get_database_backend(), "PRAGMA journal_mode = DELETE");
            Box::pin(async move { executor.query_one_raw(leave).await })
        });
        let mode: String = left.await?.context("a mode")?.try_get_by_index(0)?;
        ensure!(mode == "delete", "{mode}");
        Ok(())
    })
    .await
}

/// One session of the driver, not ours.
async fn elsewhere(file: &Path) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(format!("sqlite://{}", file.display()));
    options.max_connections(1);
    Ok(sea_orm::Database::connect(options).await?)
}

async fn numbers(connection: &DatabaseConnection) -> Result<Vec<i64>> {
    let all = "SELECT number FROM numbers ORDER BY number";
    let rows =
        connection.query_all_raw(Statement::from_string(connection.get_database_backend(), all)).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
}

/// A failure with its causes.
fn said(failure: &Failure) -> String {
    format!("{:#}", anyhow::Error::new(failure.clone()))
}
