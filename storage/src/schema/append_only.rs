//! Tables that rows are added to, and nothing else: the database refuses it to everybody, whichever service or person asks.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait::async_trait};

/// A migration after which no row of these tables is changed or removed, as long as its triggers are there: only who owns a table can take
/// them away. [`NeverReplaced`] belongs to it: on SQLite a row can be replaced without either.
#[derive(Debug, Clone, Copy)]
pub struct AppendOnly {
    name: &'static str,
    tables: &'static [&'static str],
}

impl AppendOnly {
    /// A migration by its name, which never changes, of tables that are there.
    #[must_use]
    pub const fn new(name: &'static str, tables: &'static [&'static str]) -> Self {
        Self { name, tables }
    }
}

impl MigrationName for AppendOnly {
    fn name(&self) -> &str {
        self.name
    }
}

/// Once for each statement, so that one without a row to change is refused too, and TRUNCATE, which knows no rows.
const REFUSE: &str = "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$";

#[async_trait]
impl MigrationTrait for AppendOnly {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        if is_postgres {
            connection.execute_unprepared(REFUSE).await?;
        }
        for table in self.tables {
            let triggers = if is_postgres { on_postgres(table) } else { on_sqlite(table) };
            connection.execute_unprepared(&triggers).await?;
        }
        Ok(())
    }
}

fn on_postgres(table: &str) -> String {
    format!(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
         FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
}

fn on_sqlite(table: &str) -> String {
    let trigger = |event: &str| {
        format!(
            "CREATE TRIGGER {table}_append_only_{event} BEFORE {event} ON {table}
             BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;"
        )
    };
    ["UPDATE", "DELETE"].map(trigger).concat()
}

/// A migration after which nobody replaces a row of tables that are [`AppendOnly`], on SQLite: there REPLACE removes whatever row meets one
/// of the unique keys of the new one, and triggers for DELETE are not run by that unless a connection asks for it (`recursive_triggers`).
#[derive(Debug, Clone, Copy)]
pub struct NeverReplaced {
    name: &'static str,
    tables: &'static [&'static str],
}

impl NeverReplaced {
    /// A migration by its name, which never changes, of tables that are there.
    #[must_use]
    pub const fn new(name: &'static str, tables: &'static [&'static str]) -> Self {
        Self { name, tables }
    }
}

impl MigrationName for NeverReplaced {
    fn name(&self) -> &str {
        self.name
    }
}

/// Always empty. A statement within a trigger has the conflict clause of the statement that has run it, if that has one (lang_createtrigger.html):
/// NULL is passed over here, but with REPLACE it becomes the default, which is refused.
const GUARD: &str = "CREATE TABLE IF NOT EXISTS append_only_guard (
        never INTEGER NOT NULL DEFAULT 1 CONSTRAINT \"rows are append-only\" CHECK (never = 0)
    ) STRICT";

#[async_trait]
impl MigrationTrait for NeverReplaced {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            return Ok(());
        }
        let connection = manager.get_connection();
        connection.execute_unprepared(GUARD).await?;
        for table in self.tables {
            // No key is looked up, and ON CONFLICT DO NOTHING stays what it is.
            let trigger = format!(
                "CREATE TRIGGER {table}_append_only_replace BEFORE INSERT ON {table}
                 BEGIN INSERT OR IGNORE INTO append_only_guard (never) VALUES (NULL); END"
            );
            connection.execute_unprepared(&trigger).await?;
        }
        Ok(())
    }
}
