//! Single statements on connections of their own: they survive what happens to the server and to each other.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};
use storage::{Database, DatabaseUrl, Failure, Limits};
use world::{Postgres, Scratch, eventually};

#[tokio::test]
async fn a_statement_that_fails_harms_no_other() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let database = connect(&postgres).await?;
    // More than there are connections.
    let outcomes = join_all((0..40).map(|number| insert(&database, number / 2))).await;
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(Failure::Refused(_)))).count();
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    ensure!((done, refused) == (20, 20), "{outcomes:?}");
    ensure!(sum(&database).await? == (0..20).sum::<i64>());
    database.close().await;
    postgres.stop().await
}

#[tokio::test]
async fn a_server_that_was_away_is_found_again() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let database = connect(&postgres).await?;
    insert(&database, 1).await?;
    postgres.kill().await?;
    let failure = insert(&database, 2).await.expect_err("nobody is there");
    ensure!(matches!(failure, Failure::Unavailable(_) | Failure::Unknown(_)), "{failure:?}");
    postgres.start_again().await?;
    // At once: no connection of before is in the way.
    insert(&database, 3).await?;
    // Behind the back of an idle connection.
    postgres.kill().await?;
    postgres.start_again().await?;
    let patience = Duration::from_secs(10);
    eventually("a statement to be done", patience, async || insert(&database, 4).await.context("not done"))
        .await?;
    ensure!(sum(&database).await? == 8);
    database.close().await;
    postgres.stop().await
}

async fn connect(postgres: &Postgres) -> Result<Database> {
    let url = postgres.fresh_database().await?;
    let database = Database::connect(&url.parse()?, Limits::default()).await?;
    database.read().execute_unprepared("CREATE TABLE numbers (number BIGINT PRIMARY KEY)").await?;
    Ok(database)
}

async fn insert(database: &Database, number: i64) -> Result<(), Failure> {
    let inserted = database.execute(move |executor| {
        let sql = "INSERT INTO numbers VALUES ($1)";
        let statement = Statement::from_sql_and_values(executor.get_database_backend(), sql, [number.into()]);
        Box::pin(async move { executor.execute_raw(statement).await.map(drop) })
    });
    inserted.await
}

async fn sum(database: &Database) -> Result<i64> {
    let summed = database.execute(|executor| {
        let sql = "SELECT COALESCE(SUM(number), 0)::bigint FROM numbers";
        let statement = Statement::from_string(executor.get_database_backend(), sql);
        Box::pin(async move {
            let row = executor.query_one_raw(statement).await?;
            row.ok_or_else(|| DbErr::RecordNotFound("a sum".to_owned()))?.try_get_by_index(0)
        })
    });
    Ok(summed.await?)
}

/// Otherwise SQLite would prepare a statement again each time its LIMIT is bound.
#[tokio::test]
async fn plans_of_sqlite_do_not_depend_on_what_is_bound() -> Result<()> {
    let scratch = Scratch::new("plans")?;
    let database =
        Database::connect(&DatabaseUrl::file(&scratch.path().join("a.db")), Limits::default()).await?;
    let options = Statement::from_string(DbBackend::Sqlite, "PRAGMA compile_options");
    let options = database.read().query_all_raw(options).await?;
    let options: Vec<String> = options.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    ensure!(
        options.iter().any(|option| option == "ENABLE_QPSG"),
        "built without .cargo/config.toml: {options:?}"
    );
    database.close().await;
    Ok(())
}
