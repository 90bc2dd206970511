//! The books are only added to, whoever asks the database: and a version that knows of no origins goes on adding to them.

use anyhow::{Context as _, Result, ensure};
use chassis::clock::{Clock as _, SystemClock};
use messaging::{
    origin::Origin,
    parked::{
        Operator, actions,
        note::{self, Model as Note},
    },
};
use payments::{
    commands::{create_account::CreateAccount, top_up_account::TopUpAccount},
    domain::deposit::Deposit,
    store::{
        entity::{account, ledger, payment},
        schema::Migrations,
    },
};
use sea_orm::{ConnectionTrait as _, DbBackend, EntityTrait as _, QueryOrder as _, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait};
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

/// The schema of the version before rows could not be replaced.
struct Before;

impl MigratorTrait for Before {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        const REFUSES: &str = "m0012_messaging_actions_never_replaced";
        let all = Migrations::migrations().into_iter();
        all.take_while(|migration| MigrationName::name(migration.as_ref()) != REFUSES).collect()
    }
}

/// Its files are there, with rows in every table of the books.
#[tokio::test]
async fn in_files_of_the_version_before() -> Result<()> {
    let scratch = Scratch::new("kept")?;
    let url = DatabaseUrl::file(&scratch.path().join("payments.db"));
    let before = Database::connect(&url, Limits::default()).await?;
    before.migrate::<Before>().await?;
    fill(&before).await?;
    // Nothing refuses it there.
    run(&before, "REPLACE INTO operator_actions SELECT * FROM operator_actions", vec![]).await?;
    let books = Books::of(&before).await?;
    ensure!(books.entries.len() == 2 && books.decisions.len() == 1 && books.notes.len() == 1, "{books:?}");
    before.close().await;

    let database = Database::connect(&url, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    ensure!(Books::of(&database).await? == books, "the migration has changed the books");
    are_only_added_to(&database).await?;
    ensure!(Books::of(&database).await? == books, "the books have changed");
    let top_up = writer(&database, TopUpAccount { clock: SystemClock::shared() }).submit(deposit()).await?;
    ensure!(top_up.is_ok() && rows(&database, "ledger_entries").await? == 3, "{:?}", top_up.err());
    database.close().await;
    Ok(())
}

async fn are_kept(url: &DatabaseUrl) -> Result<()> {
    let database = Database::connect(url, Limits::default()).await?;
    database.migrate::<Migrations>().await?;
    fill(&database).await?;
    let books = Books::of(&database).await?;
    let origins: Vec<_> = books.entries.iter().map(|entry| entry.subject.as_deref()).collect();
    ensure!(origins == [Some("alice"), None], "{books:?}");
    are_only_added_to(&database).await?;
    ensure!(Books::of(&database).await? == books, "the books have changed");
    database.close().await;
    Ok(())
}

/// What is only added to.
#[derive(Debug, PartialEq)]
struct Books {
    entries: Vec<ledger::Model>,
    decisions: Vec<payment::Model>,
    notes: Vec<Note>,
}

impl Books {
    async fn of(database: &Database) -> Result<Self> {
        let entries =
            ledger::Entity::find().order_by_asc(ledger::Column::Sequence).all(database.read()).await?;
        let decisions = payment::Entity::find().all(database.read()).await?;
        Ok(Self { entries, decisions, notes: actions(database.read(), 10).await? })
    }
}

fn origin() -> Origin {
    Origin {
        subject: Some("alice".to_owned()),
        token_id: Some("t-1".to_owned()),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
        x_request_id: None,
    }
}

fn deposit() -> Deposit {
    Deposit {
        user_id: "alice".to_owned(),
        amount: 5,
        currency_code: "RUB".to_owned(),
        request_id: None,
        versions: None,
        fingerprint: [0; 32],
        origin: origin(),
    }
}

/// An account, two entries, a decision, and what an operator did.
async fn fill(database: &Database) -> Result<()> {
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
    let opened = writer(database, CreateAccount).submit(account).await?;
    ensure!(opened.is_ok(), "{opened:?}");
    let booked = writer(database, TopUpAccount { clock: SystemClock::shared() }).submit(deposit()).await?;
    ensure!(booked.is_ok(), "{:?}", booked.err());
    let noted = database.transact(|transaction| {
        let olga = Operator { origin: origin(), ..Operator::from("olga") };
        Box::pin(
            async move { note::write(transaction, olga, "Redrive", "every message".to_owned(), 1).await },
        )
    });
    noted.await?;
    write_as_before(database).await
}

async fn are_only_added_to(database: &Database) -> Result<()> {
    for (table, column, key) in [
        ("ledger_entries", "amount", "id"),
        ("payments", "amount", "order_id"),
        ("operator_actions", "affected", "seq"),
    ] {
        is_only_added_to(database, table, column, key).await?;
    }
    Ok(())
}

/// Changes nothing in a table that has rows, however it is tried.
async fn is_only_added_to(database: &Database, table: &str, column: &str, key: &str) -> Result<()> {
    let before = rows(database, table).await?;
    ensure!(before > 0, "{table} is empty");
    let mut changes =
        vec![format!("UPDATE {table} SET {column} = {column} + 1"), format!("DELETE FROM {table}")];
    if database.backend() == DbBackend::Postgres {
        // For the sake of the foreign keys.
        changes.push(format!("TRUNCATE {table} CASCADE"));
    } else {
        changes.extend(replacements(table, key));
    }
    for change in changes {
        let refused = run(database, &change, vec![]).await.err().context(change.clone())?;
        ensure!(format!("{refused:?}").contains("append-only"), "{change}: {refused:?}");
    }
    // What is there is passed over, as by our own statements: no error of the database.
    if database.is_embedded() {
        let again = format!("INSERT INTO {table} SELECT * FROM {table} WHERE true ON CONFLICT DO NOTHING");
        run(database, &again, vec![]).await?;
    }
    ensure!(rows(database, table).await? == before, "{table} has changed");
    Ok(())
}

/// What SQLite takes for replacing rows: by the primary key, and for the ledger by another unique key too.
fn replacements(table: &str, key: &str) -> Vec<String> {
    let mut all = vec![
        format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table}"),
        format!("REPLACE INTO {table} SELECT * FROM {table} LIMIT 1"),
        format!("UPDATE OR REPLACE {table} SET {key} = (SELECT MIN({key}) FROM {table})"),
    ];
    if table == "ledger_entries" {
        all.push(
            "INSERT OR REPLACE INTO ledger_entries
                (id, user_id, sequence, entry_type, amount, balance_after, counter_account, create_time)
             VALUES (randomblob(16), 'alice', 1, 1, 500, 500, 'system:cash-in', 1)"
                .to_owned(),
        );
    }
    all
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
    run(database, decision, vec![order.into(), entry.into()]).await?;
    run(database, "UPDATE accounts SET balance = 0, version = 2 WHERE user_id = 'alice'", vec![]).await
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
