//! How a database goes about a statement.

use anyhow::Result;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

/// The plan of a statement, line by line.
///
/// # Errors
/// As the database says.
pub async fn plan(connection: &impl ConnectionTrait, mut statement: Statement) -> Result<String> {
    let (explain, column) = match connection.get_database_backend() {
        DbBackend::Sqlite => ("EXPLAIN QUERY PLAN ", "detail"),
        _ => ("EXPLAIN ", "QUERY PLAN"),
    };
    statement.sql.insert_str(0, explain);
    let rows = connection.query_all_raw(statement).await?;
    let lines: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get("", column)).collect();
    Ok(lines?.join("\n"))
}
