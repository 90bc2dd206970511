//! The schema: migrations that run at start, under a lock, written once for both databases.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use sea_orm_migration::{MigratorTrait, SchemaManager};

use crate::{database::Database, failure::Failure};

/// The advisory lock of migrations: any number that everyone agrees on.
const LOCK: i64 = 0x6f72_6465_726d;

impl Database {
    /// Brings the schema up to date. Of several processes that start at once one does it, and the others wait for it.
    ///
    /// # Errors
    /// When a migration fails: nothing of it stays.
    pub async fn migrate<M: MigratorTrait>(&self) -> Result<(), Failure> {
        self.transact(|transaction| {
            Box::pin(async move {
                if transaction.get_database_backend() == DbBackend::Postgres {
                    // SQLite's immediate transaction is the lock already.
                    transaction.execute_unprepared("SET LOCAL lock_timeout = 0").await?;
                    transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
                }
                M::up(transaction, None).await
            })
        })
        .await
    }
}

/// Runs statements written in the words that both databases share, and these for what they call differently: `{uuid}`,
/// `{int}` (64 bits), `{code}` (a small enumeration), `{bytes}`, `{serial}` (a key that the database counts up), and
/// `{strict}` at the end of a table, which makes SQLite check the types of what is stored.
///
/// # Errors
/// As the database says.
pub async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let words = match manager.get_database_backend() {
        DbBackend::Sqlite => [
            ("{uuid}", "BLOB"),
            ("{int}", "INTEGER"),
            ("{code}", "INTEGER"),
            ("{bytes}", "BLOB"),
            ("{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
            ("{strict}", "STRICT"),
        ],
        _ => [
            ("{uuid}", "UUID"),
            ("{int}", "BIGINT"),
            ("{code}", "SMALLINT"),
            ("{bytes}", "BYTEA"),
            ("{serial}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            ("{strict}", ""),
        ],
    };
    for statement in statements {
        let sql = words.iter().fold((*statement).to_owned(), |sql, (word, name)| sql.replace(word, name));
        manager.get_connection().execute_unprepared(&sql).await?;
    }
    Ok(())
}
