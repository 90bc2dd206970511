//! Writes that go to the database together: on PostgreSQL in one round trip, as far as they fit a statement.

use std::fmt::Write as _;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};

use super::{is_postgres, statements, value_bytes};

/// A statement that changes rows, and how many.
#[derive(Debug, Clone)]
pub struct Write {
    sql: String,
    values: Vec<Value>,
    rows: usize,
}

impl Write {
    /// A statement with its values, bound as `$1` and so on, that has to change `rows` rows. It must not end in a RETURNING.
    #[must_use]
    pub const fn new(sql: String, values: Vec<Value>, rows: usize) -> Self {
        Self { sql, values, rows }
    }

    /// The statement, which returns these columns of the rows that it has changed.
    #[must_use]
    pub fn returning(self, backend: DbBackend, columns: &str) -> Statement {
        Statement::from_sql_and_values(backend, format!("{} RETURNING {columns}", self.sql), self.values)
    }

    fn bytes(&self) -> usize {
        self.values.iter().map(bound_bytes).sum()
    }
}

/// The text of an array is bound as it is.
fn bound_bytes(value: &Value) -> usize {
    match value {
        Value::String(Some(text)) => text.len() + 6,
        other => value_bytes(other),
    }
}

/// Makes writes, of which none reads or changes what another one changes.
///
/// # Errors
/// [`DbErr::RecordNotUpdated`] when one changes fewer rows than it has to; else as the database says.
pub async fn write(connection: &impl ConnectionTrait, writes: &[Write]) -> Result<(), DbErr> {
    let backend = connection.get_database_backend();
    if !is_postgres(backend) {
        for write in writes {
            alone(connection, backend, write).await?;
        }
        return Ok(());
    }
    for run in statements(writes, Write::bytes) {
        match run {
            [write] => alone(connection, backend, write).await?,
            several => together(connection, backend, several).await?,
        }
    }
    Ok(())
}

async fn alone(connection: &impl ConnectionTrait, backend: DbBackend, write: &Write) -> Result<(), DbErr> {
    let statement = Statement::from_sql_and_values(backend, &write.sql, write.values.clone());
    let done = connection.execute_raw(statement).await?.rows_affected();
    if done == write.rows as u64 { Ok(()) } else { Err(DbErr::RecordNotUpdated) }
}

/// Each as a part of one statement (PostgreSQL, chapter 7.8.4, "Data-Modifying Statements in WITH"), which tells how many rows each has
/// changed.
async fn together(
    connection: &impl ConnectionTrait,
    backend: DbBackend,
    writes: &[Write],
) -> Result<(), DbErr> {
    let (mut parts, mut counts, mut values) = (String::new(), String::new(), Vec::new());
    for (at, write) in writes.iter().enumerate() {
        let (first, comma) = (values.len(), if at == 0 { "" } else { ", " });
        let sql = renumbered(&write.sql, first);
        // Writing into a string cannot fail.
        let _written = write!(parts, "{comma}write{at} AS ({sql} RETURNING 1)");
        let _written = write!(counts, "{comma}(SELECT COUNT(*) FROM write{at})");
        values.extend(write.values.iter().cloned());
    }
    let statement = Statement::from_sql_and_values(backend, format!("WITH {parts} SELECT {counts}"), values);
    let told = connection.query_one_raw(statement).await?.ok_or(DbErr::RecordNotUpdated)?;
    for (at, write) in writes.iter().enumerate() {
        if usize::try_from(told.try_get_by_index::<i64>(at)?) != Ok(write.rows) {
            return Err(DbErr::RecordNotUpdated);
        }
    }
    Ok(())
}

/// A statement whose first value is bound behind `before` others.
pub(super) fn renumbered(sql: &str, before: usize) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let number = part[..digits].parse().unwrap_or(0_usize) + before;
        // Writing into a string cannot fail.
        let _written = write!(text, "${number}{}", &part[digits..]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_go_on_behind_those_before() {
        assert_eq!(renumbered("a = $1 AND b = $12", 3), "a = $4 AND b = $15");
        assert_eq!(renumbered("DELETE FROM a", 3), "DELETE FROM a");
    }
}
