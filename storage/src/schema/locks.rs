//! The lock of migrations, and who holds what a migration waits for.

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::database::Database;

/// The advisory lock of migrations: any number that everyone agrees on.
pub(super) const MIGRATIONS: i64 = 0x6f72_6465_726d;

/// Sessions that hold a lock on a table of ours, or the one of migrations. No statements of theirs: they can hold anybody's data.
const HOLDERS: &str = "
    SELECT DISTINCT concat('process ', activity.pid, ' of ', usename, ' (', application_name, '), ', state, ', holds ',
        CASE WHEN locktype = 'advisory' THEN 'the lock of migrations' ELSE relation::regclass::text END)
    FROM pg_locks JOIN pg_stat_activity activity USING (pid)
    WHERE granted AND pid <> pg_backend_pid()
        AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND CASE locktype
            WHEN 'advisory' THEN (classid::bigint << 32) | objid::bigint = {MIGRATIONS}
            WHEN 'relation' THEN relation IN (
                SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p'))
            ELSE false
        END
    ORDER BY 1 LIMIT 5";

/// Who holds locks at the moment, for people.
pub(super) async fn holders(database: &Database) -> String {
    if database.backend() != DbBackend::Postgres {
        return "another connection writes to the file".to_owned();
    }
    let sql = HOLDERS.replace("{MIGRATIONS}", &MIGRATIONS.to_string());
    let rows = database.read().query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
    let rows = rows.unwrap_or_default();
    let rows: Vec<String> = rows.iter().filter_map(|row| row.try_get_by_index(0).ok()).collect();
    if rows.is_empty() { "nobody any more".to_owned() } else { rows.join("; ") }
}
