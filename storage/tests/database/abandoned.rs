//! Statements of PostgreSQL that nobody waits for any more end soon, and those that read whole tables are given their time.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use sea_orm::ConnectionTrait as _;
use storage::{Database, Limits};
use world::{PATIENCE, Postgres, eventually};

/// Reads that are under way, and how many of them wait for `pg_sleep`.
const ASLEEP: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

#[tokio::test]
async fn a_read_ends_with_its_caller() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let limits = Limits { statement_timeout: Duration::from_secs(60), ..Limits::default() };
    let database = Database::connect(&postgres.fresh_database().await?.parse()?, limits).await?;
    for connections in [database.read(), database.reports()] {
        let read = connections.execute_unprepared("SELECT pg_sleep(50)");
        let begun = eventually("the read to be under way", PATIENCE, async || {
            let asleep = asleep(&database).await?;
            ensure!(asleep == 1, "{asleep} reads are under way");
            anyhow::Ok(())
        });
        tokio::select! {
            ended = read => bail!("it takes 50 s: {ended:?}"),
            begun = begun => begun?,
        }
        // Its caller has gone, long before its time.
        eventually("the end of the read", Duration::from_secs(10), async || {
            let asleep = asleep(&database).await?;
            ensure!(asleep == 0, "{asleep} reads go on");
            Ok(())
        })
        .await?;
    }
    database.close().await;
    postgres.stop().await
}

#[tokio::test]
async fn a_report_may_take_longer_than_other_statements() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let limits = Limits { statement_timeout: Duration::from_secs(1), ..Limits::default() };
    let database = Database::connect(&postgres.fresh_database().await?.parse()?, limits).await?;
    let long = "SELECT pg_sleep(2)";
    database.read().execute_unprepared(long).await.expect_err("a statement of callers has a second");
    database.reports().execute_unprepared(long).await?;
    database.close().await;
    postgres.stop().await
}

async fn asleep(database: &Database) -> Result<i64> {
    let count = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, ASLEEP);
    let row = database.read().query_one_raw(count).await?.context("a count has a row")?;
    Ok(row.try_get_by_index(0)?)
}
