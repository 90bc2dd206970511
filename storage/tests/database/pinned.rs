//! What a session rests on is set by the session itself, whatever an operator has set for the database or the role.

use anyhow::{Context as _, Result, ensure};
use sea_orm::{ConnectionTrait, DbErr, Statement};
use storage::{Database, Limits};
use world::Postgres;

const SHOWN: &str =
    "SELECT current_setting('transaction_isolation') || ' ' || current_setting('synchronous_commit')
     || ' ' || current_setting('lock_timeout')";

#[tokio::test]
async fn settings_of_the_database_and_the_role_change_nothing() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    let name = url.rsplit('/').next().context("a URL has a database")?;
    let operator = sea_orm::Database::connect(&url).await?;
    for setting in
        ["default_transaction_isolation = 'serializable'", "synchronous_commit = 'off'", "lock_timeout = 1"]
    {
        operator.execute_unprepared(&format!("ALTER DATABASE {name} SET {setting}")).await?;
        operator.execute_unprepared(&format!("ALTER ROLE postgres SET {setting}")).await?;
    }
    let changed = shown(&sea_orm::Database::connect(&url).await?).await?;
    ensure!(changed == "serializable off 1ms", "{changed}");

    let database = Database::connect(&url.parse()?, Limits::default()).await?;
    let brief = database.with_brief_waits();
    for (database, wait) in [(&database, "5s"), (&brief, "100ms")] {
        let transacted =
            database.transact(|transaction| Box::pin(async move { shown(transaction).await })).await?;
        let executed = database.execute(|executor| Box::pin(async move { shown(&executor).await })).await?;
        for found in [transacted, executed] {
            ensure!(found == format!("read committed on {wait}"), "{found}");
        }
    }
    database.close().await;
    postgres.stop().await
}

/// The server has set them at the socket: otherwise it says 0, as for a socket of Unix.
#[tokio::test]
async fn the_server_probes_the_machine_of_a_session() -> Result<()> {
    const PROBES: &str =
        "SELECT concat_ws(' ', current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'),
         current_setting('tcp_keepalives_count'), current_setting('tcp_user_timeout'))";
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    let database = Database::connect(&url.parse()?, Limits::default()).await?;
    let writes =
        database.transact(|transaction| Box::pin(async move { text(transaction, PROBES).await })).await?;
    let single = database.execute(|executor| Box::pin(async move { text(&executor, PROBES).await })).await?;
    for probes in [writes, single, text(database.read(), PROBES).await?] {
        ensure!(probes == "10 5 3 20000", "{probes}");
    }
    database.close().await;
    postgres.stop().await
}

async fn shown(connection: &impl ConnectionTrait) -> Result<String, DbErr> {
    text(connection, SHOWN).await
}

async fn text(connection: &impl ConnectionTrait, query: &str) -> Result<String, DbErr> {
    let shown = Statement::from_string(connection.get_database_backend(), query);
    let row = connection.query_one_raw(shown).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("a row".to_owned()))?.try_get_by_index(0)
}
