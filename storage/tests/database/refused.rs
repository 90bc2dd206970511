//! A server that lets a process have some connections and no more: that is no readiness.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sea_orm::ConnectionTrait as _;
use storage::{Database, Failure, Limits};
use world::{Postgres, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn connections_that_cannot_be_had_are_no_readiness() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    let operator = sea_orm::Database::connect(&url).await?;
    let leases = storage::lease::TABLE.replace("{int}", "BIGINT").replace("{strict}", "");
    for sql in ["CREATE ROLE app LOGIN", &leases, "GRANT ALL ON leases TO app"] {
        operator.execute_unprepared(sql).await?;
    }
    let database = Database::connect(&url.replace("postgres@", "app@").parse()?, Limits::default()).await?;
    database.ping().await?;

    // It has those of the writer that is looked at, and of a reader.
    operator.execute_unprepared("ALTER ROLE app CONNECTION LIMIT 2").await?;
    let write = async || {
        let written = database.transact(|transaction| {
            let write = "UPDATE leases SET holder = '' WHERE name = 'none'";
            Box::pin(async move { transaction.execute_unprepared(write).await.map(drop) })
        });
        written.await
    };
    let failure = write().await.err().context("there was one more connection")?;
    ensure!(matches!(failure, Failure::Unavailable(_)), "{failure:?}");
    eventually("the look at the database to fail", PATIENCE, async || {
        let seen = database.ping().await.err().context("it is ready")?;
        ensure!(matches!(seen, Failure::Unavailable(_)), "{seen:?}");
        anyhow::Ok(())
    })
    .await?;

    operator.execute_unprepared("ALTER ROLE app CONNECTION LIMIT -1").await?;
    eventually("the look at the database", PATIENCE, async || database.ping().await).await?;
    write().await?;
    database.close().await;
    postgres.stop().await
}
