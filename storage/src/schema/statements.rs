//! Migrations that are statements, in words that both databases share.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait::async_trait};

/// A migration of statements in the words that both databases share, and these for what they call differently: `{uuid}`, `{int}` (64
/// bits), `{code}` (a small enumeration), `{bytes}`, `{serial}` (a key that the database counts up), and `{strict}` at the end of a
/// table, which makes SQLite check the types of what is stored.
#[derive(Debug, Clone, Copy)]
pub struct Statements {
    name: &'static str,
    shared: &'static [&'static str],
    sqlite: &'static [&'static str],
    postgres: &'static [&'static str],
}

impl Statements {
    /// A migration by its name, which never changes.
    #[must_use]
    pub const fn new(name: &'static str, shared: &'static [&'static str]) -> Self {
        Self { name, shared, sqlite: &[], postgres: &[] }
    }

    /// With these on SQLite alone, behind the others.
    #[must_use]
    pub const fn on_sqlite(self, sqlite: &'static [&'static str]) -> Self {
        Self { sqlite, ..self }
    }

    /// With these on PostgreSQL alone, behind the others.
    #[must_use]
    pub const fn on_postgres(self, postgres: &'static [&'static str]) -> Self {
        Self { postgres, ..self }
    }
}

impl MigrationName for Statements {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait]
impl MigrationTrait for Statements {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let words = match backend {
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
        let own = if backend == DbBackend::Postgres { self.postgres } else { self.sqlite };
        for statement in self.shared.iter().chain(own) {
            let sql = words.iter().fold((*statement).to_owned(), |sql, (word, name)| sql.replace(word, name));
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
