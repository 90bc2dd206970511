//! A transaction whose time is over before its commit is not committed any more, and its caller learns that nothing took effect.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sea_orm::{ConnectionTrait as _, Statement};
use storage::{Database, DatabaseUrl, Failure, Limits};
use world::{Postgres, Scratch};

const TIMEOUT: Duration = Duration::from_secs(1);

async fn nothing_is_committed_late(url: &DatabaseUrl) -> Result<()> {
    let database = Database::connect(url, Limits { statement_timeout: TIMEOUT, ..Limits::default() }).await?;
    let sql = "CREATE TABLE numbers (number BIGINT PRIMARY KEY)";
    database
        .transact(move |transaction| {
            Box::pin(async move { transaction.execute_unprepared(sql).await.map(drop) })
        })
        .await?;
    let late = database.transact(|transaction| {
        Box::pin(async move {
            transaction.execute_unprepared("INSERT INTO numbers VALUES (1)").await?;
            // What the body does takes longer than the transaction may: the time is what is tested.
            tokio::time::sleep(2 * TIMEOUT).await;
            Ok(())
        })
    });
    let failure = late.await.err().context("it was too late")?;
    ensure!(matches!(failure, Failure::Unavailable(_)), "{failure:?}");
    let count = Statement::from_string(database.backend(), "SELECT COUNT(*) FROM numbers");
    let count = database.read().query_one_raw(count).await?.context("a count has a row")?;
    ensure!(count.try_get_by_index::<i64>(0)? == 0, "it was committed");
    database.close().await;
    Ok(())
}

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    let scratch = Scratch::new("late")?;
    nothing_is_committed_late(&DatabaseUrl::file(&scratch.path().join("late.db"))).await
}

#[tokio::test]
async fn on_postgres() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    nothing_is_committed_late(&url.parse()?).await?;
    postgres.stop().await
}
