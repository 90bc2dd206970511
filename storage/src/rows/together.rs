//! Writes that go to the database together: on PostgreSQL in one round trip, as far as they fit a statement.

use std::{fmt::Write as _, sync::Arc};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};

use super::{is_postgres, statements, value_bytes};
use crate::{database::Database, failure::Failure};

/// What an operator reads who finds a statement of [`Database::write_all`] among the errors of PostgreSQL.
const FEWER: &str = "others have changed what was to be changed, and it will be tried again: rows";

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

impl Database {
    /// Makes all of these writes or none of them; of which none reads or changes what another one changes. On PostgreSQL they are a single
    /// statement where they fit, without a transaction around it, and the first comes first as a rule.
    ///
    /// # Errors
    /// [`Failure::Refused`] when one changes fewer rows than it has to; else as [`Database::transact`].
    pub async fn write_all(&self, writes: Vec<Write>) -> Result<(), Failure> {
        let writes: Arc<[Write]> = writes.into();
        if is_postgres(self.backend()) && statements(&writes, Write::bytes).len() == 1 {
            let written = self.execute(move |executor| {
                let writes = Arc::clone(&writes);
                Box::pin(async move { all_or_none(&executor, &writes).await })
            });
            return written.await;
        }
        let written = self.transact(move |transaction| {
            let writes = Arc::clone(&writes);
            Box::pin(async move {
                // Another attempt would write the same.
                let fewer = |error| match error {
                    DbErr::RecordNotUpdated => DbErr::Custom(FEWER.to_owned()),
                    other => other,
                };
                write(transaction, &writes).await.map_err(fewer)
            })
        });
        written.await
    }
}

/// A statement that fails by itself: without a transaction nobody could take back what it has changed.
async fn all_or_none(connection: &impl ConnectionTrait, writes: &[Write]) -> Result<(), DbErr> {
    let Joined { parts, mut values } = Joined::by(writes);
    let mut complete = String::new();
    for (at, write) in writes.iter().enumerate() {
        values.push(i64::try_from(write.rows).unwrap_or(i64::MAX).into());
        let (and, number) = (if at == 0 { "" } else { " AND " }, values.len());
        // Writing into a string cannot fail.
        let _written = write!(complete, "{and}(SELECT COUNT(*) FROM write{at}) = ${number}");
    }
    // The text is no number. It is made of something that is not known before, or it would be read while the statement is planned.
    let sql = format!(
        "WITH {parts} SELECT CASE WHEN {complete} THEN 0 ELSE CAST('{FEWER} ' || (SELECT COUNT(*) FROM write0) AS integer) END"
    );
    connection.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
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
    let Joined { parts, values } = Joined::by(writes);
    let counts: Vec<String> =
        (0..writes.len()).map(|at| format!("(SELECT COUNT(*) FROM write{at})")).collect();
    let sql = format!("WITH {parts} SELECT {}", counts.join(", "));
    let statement = Statement::from_sql_and_values(backend, sql, values);
    let told = connection.query_one_raw(statement).await?.ok_or(DbErr::RecordNotUpdated)?;
    for (at, write) in writes.iter().enumerate() {
        if usize::try_from(told.try_get_by_index::<i64>(at)?) != Ok(write.rows) {
            return Err(DbErr::RecordNotUpdated);
        }
    }
    Ok(())
}

/// Writes as parts of one statement, called `write0` and so on.
struct Joined {
    parts: String,
    values: Vec<Value>,
}

impl Joined {
    fn by(writes: &[Write]) -> Self {
        let (mut parts, mut values) = (String::new(), Vec::new());
        for (at, write) in writes.iter().enumerate() {
            let (sql, comma) = (renumbered(&write.sql, values.len()), if at == 0 { "" } else { ", " });
            // Writing into a string cannot fail.
            let _written = write!(parts, "{comma}write{at} AS ({sql} RETURNING 1)");
            values.extend(write.values.iter().cloned());
        }
        Self { parts, values }
    }
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
