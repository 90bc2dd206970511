//! Migrations: of several processes that start at once on an empty database one migrates, and the others wait for it.

use anyhow::Result;
use futures_util::future::try_join_all;
use sea_orm::ConnectionTrait as _;
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use storage::{Database, DatabaseUrl, Limits, schema::Statements};
use world::{Postgres, Scratch};

struct Migrations;

impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Statements::new("m0001_things", THINGS))]
    }
}

const THINGS: &[&str] =
    &["CREATE TABLE things (id {uuid} PRIMARY KEY, size {int} NOT NULL, seen {code}) {strict}"];

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    let scratch = Scratch::new("migrations")?;
    // In a URL, these characters would not be part of the path.
    let file = scratch.path().join("some things? #1 100%.db");
    start_at_once(&DatabaseUrl::file(&file)).await?;
    assert!(file.is_file());
    // A new file is turned to WAL by one, while the others meet its lock: seldom at the wrong moment, so this is done often.
    for round in 0..60 {
        start_at_once(&DatabaseUrl::file(&scratch.path().join(format!("{round}.db")))).await?;
    }
    Ok(())
}

#[tokio::test]
async fn on_postgres() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    start_at_once(&postgres.fresh_database().await?.parse()?).await?;
    postgres.stop().await
}

async fn start_at_once(url: &DatabaseUrl) -> Result<()> {
    let starting = (0..5).map(|_| async move {
        let database = Database::connect(url, Limits { connections: 2, ..Limits::default() }).await?;
        database.migrate::<Migrations>().await?;
        database
            .read()
            .query_all_raw(sea_orm::Statement::from_string(database.backend(), "SELECT * FROM things"))
            .await?;
        database.close().await;
        anyhow::Ok(())
    });
    try_join_all(starting).await?;
    Ok(())
}
