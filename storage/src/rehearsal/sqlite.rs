//! What a rehearsal on SQLite has noted: temporary triggers write each row that changes into a temporary table. Both go with the rollback.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};
use serde_json::Value;

use super::rows::Noted;
use crate::transaction::Transaction;

const NOTES: &str =
    "CREATE TEMP TABLE rehearsal_notes (changed TEXT NOT NULL, row_before TEXT, row_after TEXT) STRICT";
const TABLES: &str = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' \
     AND name <> 'seaql_migrations'";

/// A column of a table.
struct Column {
    name: String,
    is_bytes: bool,
    /// Its place in the primary key, from 1 on; 0 when it is no part of that.
    in_key: i64,
}

/// Makes the triggers, and returns the columns of the primary key of each table.
pub(super) async fn begin(transaction: &Transaction) -> Result<HashMap<String, Vec<String>>, DbErr> {
    transaction.execute_unprepared(NOTES).await?;
    let mut keys = HashMap::new();
    let tables = transaction.query_all_raw(Statement::from_string(DbBackend::Sqlite, TABLES)).await?;
    for table in tables {
        let table: String = table.try_get_by_index(0)?;
        let columns = columns(transaction, &table).await?;
        for (verb, before, after) in [
            ("INSERT", "NULL".to_owned(), row("NEW", &columns)),
            ("UPDATE", row("OLD", &columns), row("NEW", &columns)),
            ("DELETE", row("OLD", &columns), "NULL".to_owned()),
        ] {
            let sql = format!(
                "CREATE TEMP TRIGGER \"rehearsal_{table}_{verb}\" AFTER {verb} ON main.\"{table}\" BEGIN \
                 INSERT INTO rehearsal_notes VALUES ('{table}', {before}, {after}); END"
            );
            transaction.execute_unprepared(&sql).await?;
        }
        let mut key: Vec<&Column> = columns.iter().filter(|column| column.in_key > 0).collect();
        key.sort_by_key(|column| column.in_key);
        let key = key.into_iter().map(|column| column.name.clone()).collect();
        keys.insert(table, key);
    }
    Ok(keys)
}

async fn columns(transaction: &Transaction, table: &str) -> Result<Vec<Column>, DbErr> {
    let sql = "SELECT name, type, pk FROM pragma_table_info($1)";
    let find = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [table.into()]);
    let columns = transaction.query_all_raw(find).await?;
    let read = |column: &sea_orm::QueryResult| {
        let kind: String = column.try_get_by_index(1)?;
        Ok(Column {
            name: column.try_get_by_index(0)?,
            is_bytes: kind == "BLOB",
            in_key: column.try_get_by_index(2)?,
        })
    };
    columns.iter().map(read).collect()
}

/// The expression of a row as JSON, which has no bytes: they are as PostgreSQL writes them, and what may be a UUID as one. (Other columns
/// are not of 16 bytes.)
fn row(which: &str, columns: &[Column]) -> String {
    let value = |column: &Column| {
        let name = format!("{which}.\"{}\"", column.name);
        if !column.is_bytes {
            return name;
        }
        let digits = format!("lower(hex({name}))");
        let groups: Vec<String> = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)]
            .map(|(from, length)| format!("substr({digits}, {from}, {length})"))
            .into();
        format!(
            "CASE WHEN {name} IS NULL THEN NULL WHEN length({name}) = 16 THEN {} ELSE '\\x' || {digits} END",
            groups.join(" || '-' || ")
        )
    };
    let members: Vec<String> =
        columns.iter().map(|column| format!("'{}', {}", column.name, value(column))).collect();
    format!("json_object({})", members.join(", "))
}

/// What was noted since this was called before.
pub(super) async fn noted(transaction: &Transaction) -> Result<Vec<Noted>, DbErr> {
    let sql = "SELECT changed, row_before, row_after FROM rehearsal_notes ORDER BY rowid";
    let rows = transaction.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
    if !rows.is_empty() {
        transaction.execute_unprepared("DELETE FROM rehearsal_notes").await?;
    }
    let json = |text: Option<String>| {
        let parsed = text.map(|text| serde_json::from_str::<Value>(&text)).transpose();
        parsed.map_err(|error| DbErr::Type(format!("a note of a rehearsal: {error}")))
    };
    let read = |row: &sea_orm::QueryResult| {
        let before = json(row.try_get_by_index(1)?)?;
        Ok(Noted {
            table: row.try_get_by_index(0)?,
            was_there: before.is_some(),
            before,
            after: json(row.try_get_by_index(2)?)?,
        })
    };
    rows.iter().map(read).collect()
}
