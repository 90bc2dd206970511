//! Rehearsals on both databases: which rows would change is said, one part that fails takes back itself alone, and nothing stays.

use anyhow::{Context as _, Result, ensure};
use sea_orm::{ConnectionTrait as _, DbErr, Statement, Value as Bound};
use serde_json::{Value, json};
use storage::{
    Database, DatabaseUrl, Failure, Limits, Transaction,
    rehearsal::Change,
    rows::{self, Write},
};
use world::{Postgres, Scratch};

const TABLES: [&str; 2] = [
    "CREATE TABLE accounts (name TEXT PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0), note {bytes})",
    "CREATE TABLE entries (name TEXT, number BIGINT, amount BIGINT NOT NULL, PRIMARY KEY (number, name))",
];

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    let scratch = Scratch::new("rehearsal")?;
    let url = DatabaseUrl::file(&scratch.path().join("rehearsal.db"));
    check(Database::connect(&url, Limits::default()).await?).await
}

#[tokio::test]
async fn on_postgres() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    check(Database::connect(&url.parse()?, Limits::default()).await?).await?;
    postgres.stop().await
}

async fn check(database: Database) -> Result<()> {
    let bytes = if database.is_embedded() { "BLOB" } else { "BYTEA" };
    for table in TABLES {
        database.execute_unflushed(table.replace("{bytes}", bytes)).await?;
    }
    let insert = "INSERT INTO accounts (name, balance) VALUES ('alice', 100), ('bob', 7), ('carol', 1)";
    database.execute_unflushed(insert.to_owned()).await?;
    let before = all(&database).await?;
    let [first, refused, panicked, last]: [_; 4] =
        parts(&database).await?.try_into().ok().context("four parts")?;
    let account = |balance: i64| Some(json!({ "name": "alice", "balance": balance, "note": null }));
    let entry = |number: i64, amount: i64| {
        let after = json!({ "name": "alice", "number": number, "amount": amount });
        change("entries", &format!("{number}, alice"), None, Some(after))
    };
    ensure!(
        first.0.is_ok() && first.1 == [change("accounts", "alice", account(100), account(70)), entry(1, -30)],
        "{first:#?}"
    );
    ensure!(matches!(refused.0, Err(Failure::Refused(_))) && refused.1.is_empty(), "{refused:#?}");
    ensure!(matches!(panicked.0, Err(Failure::Panicked)) && panicked.1.is_empty(), "{panicked:#?}");
    let person = |name: &str, balance: i64, note: Value| {
        Some(json!({ "name": name, "balance": balance, "note": note }))
    };
    let expected = [
        change("accounts", "alice", account(70), account(59)),
        entry(4, -5),
        entry(5, -6),
        change("accounts", "bob", person("bob", 7, Value::Null), None),
        change("accounts", "carol", person("carol", 1, Value::Null), person("carol", 1, json!("\\x01ff"))),
    ];
    ensure!(last.0.is_ok() && last.1 == expected, "{last:#?}");
    nothing_stays(&database, &before).await?;
    database.close().await;
    Ok(())
}

/// What a part has come to, and the rows that it has changed.
type Part = (Result<(), Failure>, Vec<Change>);

/// A part that is done, one that is refused, one that panics, and one of several statements.
async fn parts(database: &Database) -> Result<Vec<Part>> {
    let parts = database.rehearse(|rehearsal| {
        Box::pin(async move {
            let transaction = rehearsal.transaction();
            let mut parts: Vec<Part> = Vec::new();
            let done = rehearsal.attempt(charge(transaction, 30, 1)).await?;
            parts.push((done, rehearsal.changes().await?));
            // More than there is.
            let refused = rehearsal.attempt(charge(transaction, 100, 2)).await?;
            parts.push((refused, rehearsal.changes().await?));
            let panicking = rehearsal.attempt(async {
                charge(transaction, 1, 3).await?;
                panic!("in the middle")
            });
            parts.push((panicking.await?, rehearsal.changes().await?));
            let done = rehearsal.attempt(async {
                charge(transaction, 5, 4).await?;
                charge(transaction, 6, 5).await?;
                transaction.execute_unprepared("SELECT 1").await?;
                let gone = "DELETE FROM accounts WHERE name = 'bob'";
                transaction
                    .execute_raw(Statement::from_string(transaction.get_database_backend(), gone))
                    .await?;
                let fills = "UPDATE accounts SET note = $1 WHERE name = $2";
                execute(transaction, fills, vec![vec![1_u8, 255].into(), "carol".into()]).await
            });
            parts.push((done.await?, rehearsal.changes().await?));
            Ok(parts)
        })
    });
    Ok(parts.await?)
}

fn change(table: &str, key: &str, before: Option<Value>, after: Option<Value>) -> Change {
    Change { table: table.to_owned(), key: key.to_owned(), before, after }
}

/// Takes from the account of alice, with an entry: on PostgreSQL two parts of one statement.
async fn charge(transaction: &Transaction, amount: i64, number: i64) -> Result<(), DbErr> {
    let name = || Bound::from("alice");
    let update = "UPDATE accounts SET balance = accounts.balance - $1 WHERE name = $2";
    let insert = "INSERT INTO entries (name, number, amount) VALUES ($1, $2, $3)";
    let writes = [
        Write::new(update.to_owned(), vec![amount.into(), name()], 1),
        Write::new(insert.to_owned(), vec![name(), number.into(), (-amount).into()], 1),
    ];
    rows::write(transaction, &writes).await
}

async fn execute(transaction: &Transaction, sql: &str, values: Vec<Bound>) -> Result<(), DbErr> {
    let statement = Statement::from_sql_and_values(transaction.get_database_backend(), sql, values);
    let done = transaction.execute_raw(statement).await?.rows_affected();
    if done == 1 { Ok(()) } else { Err(DbErr::Custom(format!("{done} rows"))) }
}

/// All accounts and the number of entries.
async fn all(database: &Database) -> Result<(Vec<(String, i64)>, i64)> {
    let query = |sql: &str| Statement::from_string(database.backend(), sql);
    let accounts = database.read().query_all_raw(query("SELECT name, balance FROM accounts ORDER BY name"));
    let account = |row: &sea_orm::QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
    let accounts = accounts.await?.iter().map(account).collect::<Result<_, DbErr>>()?;
    let entries = database.read().query_one_raw(query("SELECT COUNT(*) FROM entries")).await?;
    Ok((accounts, entries.context("a count")?.try_get_by_index(0)?))
}

/// The next transaction on the same connection notes nothing.
async fn nothing_stays(database: &Database, before: &(Vec<(String, i64)>, i64)) -> Result<()> {
    let after = all(database).await?;
    ensure!(after == *before, "{before:?} became {after:?}");
    database.transact(|transaction| Box::pin(charge(transaction, 1, 1))).await?;
    if database.is_embedded() {
        let left = database.transact(|transaction| {
            Box::pin(async move {
                let sql = "SELECT COUNT(*) FROM temp.sqlite_schema";
                let row = transaction
                    .query_one_raw(Statement::from_string(transaction.get_database_backend(), sql))
                    .await?;
                row.map(|row| row.try_get_by_index::<i64>(0)).transpose()
            })
        });
        ensure!(left.await? == Some(0), "temporary triggers stay");
    }
    ensure!(all(database).await?.1 == 1);
    Ok(())
}
