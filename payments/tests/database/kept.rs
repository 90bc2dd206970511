//! The books are only added to, whoever asks the database: and a version that knows of no origins goes on adding to them.

use anyhow::{Context as _, Result, ensure};
use chassis::clock::{Clock as _, SystemClock};
use messaging::{
    origin::Origin,
    parked::{Action, Filter, Mode, Operator, operate},
};
use payments::{
    commands::{create_account::CreateAccount, top_up_account::TopUpAccount},
    domain::deposit::Deposit,
    store::{
        entity::{account, ledger},
        schema::Migrations,
    },
};
use sea_orm::{ConnectionTrait as _, DbBackend, EntityTrait as _, QueryOrder as _, Statement};
use storage::{Database, DatabaseUrl, Limits};
use uuid::Uuid;
use world::{Postgres, Scratch};

use crate::writer;

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    let scratch = Scratch::new("kept")?;
    are_kept(&DatabaseUrl::file(&scratch.path().join("payments.db"))).await
}

#[tokio::test]
async fn on_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    are_kept(&postgres.fresh_database().await?.parse()?).await
}

async fn are_kept(url: &DatabaseUrl) -> Result<()> {
    let database = Database::connect(url, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    let now = SystemClock.now();
    let account = account::Model {
        user_id: "alice".to_owned(),
        balance: 0,
        currency_code: "RUB".to_owned(),
        version: 0,
        create_time: now,
        update_time: now,
        request_id: None,
        fingerprint: None,
    };
    let opened = writer(&database, CreateAccount).submit(account).await?;
    ensure!(opened.is_ok(), "{opened:?}");
    let origin = Origin {
        subject: Some("alice".to_owned()),
        token_id: Some("t-1".to_owned()),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
        x_request_id: None,
    };
    let deposit = Deposit {
        user_id: "alice".to_owned(),
        amount: 5,
        currency_code: "RUB".to_owned(),
        request_id: None,
        versions: None,
        fingerprint: [0; 32],
        origin: origin.clone(),
    };
    let top_ups = writer(&database, TopUpAccount { clock: SystemClock::shared() });
    let booked = top_ups.submit(deposit).await?;
    ensure!(booked.is_ok(), "{:?}", booked.err());
    let olga = Operator { origin, ..Operator::from("olga") };
    operate(&database, Action::Redrive, &Filter::default(), olga, Mode::Apply).await?;
    write_as_before(&database).await?;

    let entries = entries(&database).await?;
    let origins: Vec<_> = entries.iter().map(|entry| entry.subject.as_deref()).collect();
    ensure!(origins == [Some("alice"), None], "{entries:?}");
    for (table, column) in
        [("ledger_entries", "amount"), ("payments", "amount"), ("operator_actions", "affected")]
    {
        let before = rows(&database, table).await?;
        ensure!(before > 0, "{table} is empty");
        let mut changes =
            vec![format!("UPDATE {table} SET {column} = {column} + 1"), format!("DELETE FROM {table}")];
        if database.backend() == DbBackend::Postgres {
            // For the sake of the foreign keys.
            changes.push(format!("TRUNCATE {table} CASCADE"));
        }
        for change in changes {
            let refused = run(&database, &change, vec![]).await.err().context(change.clone())?;
            ensure!(format!("{refused:?}").contains("append-only"), "{change}: {refused:?}");
        }
        ensure!(rows(&database, table).await? == before, "{table} has changed");
    }
    ensure!(self::entries(&database).await? == entries, "an entry has changed");
    database.close().await;
    Ok(())
}

/// Pays an order of alice as the version before does, which has no columns for who asked.
async fn write_as_before(database: &Database) -> Result<()> {
    let (entry, order) = (Uuid::from_u128(7 << 76 | 1), Uuid::from_u128(2));
    let debit = "INSERT INTO ledger_entries
        (id, user_id, sequence, entry_type, amount, balance_after, order_id, counter_account, create_time)
        VALUES ($1, 'alice', 2, 2, -5, 0, $2, 'system:order-revenue', 1)";
    run(database, debit, vec![entry.into(), order.into()]).await?;
    let decision = "INSERT INTO payments (order_id, user_id, amount, currency_code, outcome, account_version, balance_observed,
            ledger_entry_id, decide_time)
        VALUES ($1, 'alice', 5, 'RUB', 1, 2, 5, $2, 1)";
    run(database, decision, vec![order.into(), entry.into()]).await
}

async fn run(database: &Database, sql: &str, values: Vec<sea_orm::Value>) -> Result<()> {
    let statement = Statement::from_sql_and_values(database.backend(), sql, values);
    let done = database.transact(move |transaction| {
        let statement = statement.clone();
        Box::pin(async move { transaction.execute_raw(statement).await.map(drop) })
    });
    Ok(done.await?)
}

async fn rows(database: &Database, table: &str) -> Result<i64> {
    let count = Statement::from_string(database.backend(), format!("SELECT COUNT(*) FROM {table}"));
    let row = database.read().query_one_raw(count).await?.context("a count has a row")?;
    Ok(row.try_get_by_index(0)?)
}

async fn entries(database: &Database) -> Result<Vec<ledger::Model>> {
    Ok(ledger::Entity::find().order_by_asc(ledger::Column::Sequence).all(database.read()).await?)
}
