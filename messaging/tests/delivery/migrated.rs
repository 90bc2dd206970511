//! What versions before have parked stays what it was, and may be joined by what waits behind it.

use anyhow::{Result, ensure};
use messaging::{
    parked::{self, Filter, State},
    schema::{
        COUNTED_REDRIVES, COUNTED_REPEATS, KEPT_ACTIONS, KEPT_ORDER, KEPT_ORIGINS, KEPT_PAUSES,
        KEPT_REQUESTS, MESSAGING_TABLES, PARKED_OPERATIONS, WHOLE_TRACE_CONTEXTS,
    },
};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use storage::{Database, DatabaseUrl, Limits};
use world::{Postgres, Scratch};

struct Before;

impl MigratorTrait for Before {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(MESSAGING_TABLES),
            Box::new(COUNTED_REDRIVES),
            Box::new(WHOLE_TRACE_CONTEXTS),
            Box::new(KEPT_ORIGINS),
            Box::new(KEPT_ACTIONS),
            Box::new(PARKED_OPERATIONS),
        ]
    }
}

struct Now;

impl MigratorTrait for Now {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        Before::migrations()
            .into_iter()
            .chain([Box::new(KEPT_PAUSES) as _, Box::new(KEPT_ORDER) as _, Box::new(KEPT_REQUESTS) as _])
            .chain([Box::new(COUNTED_REPEATS) as _])
            .collect()
    }
}

async fn park(database: &Database, state: i16) -> Result<()> {
    let sql = format!(
        "INSERT INTO parked (consumer, state, kind, source, partition_key, payload, error, attempts, park_time)
         VALUES ('reader', {state}, 'tests.v1.Fact', '', 'key', '', 'refused', 1, 0)"
    );
    let sql = if database.is_embedded() { sql.replace("'key', ''", "'key', X''") } else { sql };
    Ok(database.execute_unflushed(sql).await.map(drop)?)
}

async fn is_kept(url: DatabaseUrl) -> Result<()> {
    let database = Database::connect(&url, Limits::default()).await?;
    database.migrate::<Before>().await?;
    for state in [0, 1, 2, 0] {
        park(&database, state).await?;
    }
    database.execute_unflushed("DELETE FROM parked WHERE seq = 4".to_owned()).await?;
    database.execute_unflushed("UPDATE parked SET cause = 'of before'".to_owned()).await?;
    ensure!(park(&database, 3).await.is_err(), "no message waits in a table of before");
    database.migrate::<Now>().await?;
    park(&database, 3).await?;
    ensure!(park(&database, 4).await.is_err(), "there is no such state");
    let rows = parked::list(database.read(), &Filter::default(), 0, 10).await?;
    let states: Vec<State> = rows.iter().map(|row| row.state).collect();
    ensure!(states == [State::Parked, State::Held, State::Redriven, State::Waiting], "{rows:?}");
    ensure!(rows[3].seq > 4, "a number is given once: {rows:?}");
    are_of_one_cause(&database).await?;
    // A process of the version before, beside this one, has parked it again.
    database.execute_unflushed("UPDATE parked SET cause = 'of before' WHERE seq = 1".to_owned()).await?;
    are_of_one_cause(&database).await?;
    database.close().await;
    Ok(())
}

/// All of them are found by the cause of the group, whatever a version before has called it.
async fn are_of_one_cause(database: &Database) -> Result<()> {
    let groups = parked::groups(database, &Filter::default(), 10).await?;
    let causes: Vec<&str> = groups.iter().map(|group| group.cause.as_str()).collect();
    ensure!(causes.len() == 1 && causes[0].starts_with('g'), "{groups:?}");
    let of_cause = Filter { cause: Some(causes[0].to_owned()), ..Filter::default() };
    let rows = parked::list(database.read(), &of_cause, 0, 10).await?;
    ensure!(rows.len() == 4, "{rows:?}");
    Ok(())
}

#[tokio::test]
async fn what_was_parked_before_is_kept_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("migrated")?;
    is_kept(DatabaseUrl::file(&scratch.path().join("parked.db"))).await
}

#[tokio::test]
async fn what_was_parked_before_is_kept_on_postgres() -> Result<()> {
    let postgres = Postgres::start().await?;
    is_kept(postgres.fresh_database().await?.parse()?).await
}
