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
    /// What comes behind its condition.
    end: &'static str,
    values: Vec<Value>,
    rows: usize,
    /// See [`Write::guarded`].
    guard: Option<String>,
}

impl Write {
    /// A statement with its values, bound as `$1` and so on, that has to change `rows` rows. It must not end in a RETURNING; where it is
    /// made together with one that is [guarded](Write::guarded), it has to end in its WHERE clause.
    #[must_use]
    pub const fn new(sql: String, values: Vec<Value>, rows: usize) -> Self {
        Self { sql, end: "", values, rows, guard: None }
    }

    /// The statement with this behind its condition, as `ON CONFLICT DO NOTHING`.
    #[must_use]
    pub(super) fn ending(self, end: &'static str) -> Self {
        Self { end, ..self }
    }

    /// An UPDATE that others may get in the way of as a matter of course, with a SELECT that locks the rows that it will change, as long
    /// as they still are what they have to be. Its values are those of the statement. Where fewer are left, [`Database::write_all`] then
    /// changes nothing, whereas PostgreSQL can take back what a statement has changed only by an error, which its log shows.
    #[must_use]
    pub fn guarded(self, lock: String) -> Self {
        Self { guard: Some(lock), ..self }
    }

    /// The statement, which returns these columns of the rows that it has changed.
    #[must_use]
    pub fn returning(self, backend: DbBackend, columns: &str) -> Statement {
        Statement::from_sql_and_values(
            backend,
            format!("{}{} RETURNING {columns}", self.sql, self.end),
            self.values,
        )
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

/// A statement that changes nothing where a guard finds fewer rows, and else fails by itself: without a transaction nobody could take back
/// what it has changed.
async fn all_or_none(connection: &impl ConnectionTrait, writes: &[Write]) -> Result<(), DbErr> {
    let mut joined = Joined::by(writes);
    let guarded = joined.guard();
    let (condition, holds, from) =
        if guarded { (" AND (SELECT holds FROM guard)", "holds", " FROM guard") } else { ("", "TRUE", "") };
    joined.write_all(condition);
    let complete = joined.complete().join(" AND ");
    let Joined { parts, values, .. } = joined;
    // The text is no number. It is made of something that is not known before, or it would be read while the statement is planned.
    let sql = format!(
        "WITH {} SELECT {holds}, CASE WHEN NOT {holds} OR {complete} THEN 0 \
         ELSE CAST('{FEWER} ' || (SELECT COUNT(*) FROM write0) AS integer) END{from}",
        parts.join(", ")
    );
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let row = connection.query_one_raw(statement).await?;
    let holds = row.map(|row| row.try_get_by_index(0)).transpose()?;
    if holds == Some(true) { Ok(()) } else { Err(DbErr::Custom(FEWER.to_owned())) }
}

async fn alone(connection: &impl ConnectionTrait, backend: DbBackend, write: &Write) -> Result<(), DbErr> {
    let sql = format!("{}{}", write.sql, write.end);
    let statement = Statement::from_sql_and_values(backend, sql, write.values.clone());
    let done = connection.execute_raw(statement).await?.rows_affected();
    if done == write.rows as u64 { Ok(()) } else { Err(DbErr::RecordNotUpdated) }
}

/// Each as a part of one statement (PostgreSQL, chapter 7.8.4, "Data-Modifying Statements in WITH"), which returns how many rows each has
/// changed.
async fn together(
    connection: &impl ConnectionTrait,
    backend: DbBackend,
    writes: &[Write],
) -> Result<(), DbErr> {
    let mut joined = Joined::by(writes);
    joined.write_all("");
    let Joined { parts, values, .. } = joined;
    let counts: Vec<String> =
        (0..writes.len()).map(|at| format!("(SELECT COUNT(*) FROM write{at})")).collect();
    let sql = format!("WITH {} SELECT {}", parts.join(", "), counts.join(", "));
    let statement = Statement::from_sql_and_values(backend, sql, values);
    let counts = connection.query_one_raw(statement).await?.ok_or(DbErr::RecordNotUpdated)?;
    for (at, write) in writes.iter().enumerate() {
        if usize::try_from(counts.try_get_by_index::<i64>(at)?) != Ok(write.rows) {
            return Err(DbErr::RecordNotUpdated);
        }
    }
    Ok(())
}

/// Writes as parts of one statement, called `write0` and so on.
struct Joined<'w> {
    writes: &'w [Write],
    /// How many values are bound before those of each write.
    before: Vec<usize>,
    values: Vec<Value>,
    parts: Vec<String>,
    /// A write that is a part already.
    first: Option<usize>,
}

impl<'w> Joined<'w> {
    fn by(writes: &'w [Write]) -> Self {
        let (mut before, mut values) = (Vec::with_capacity(writes.len()), Vec::new());
        for write in writes {
            before.push(values.len());
            values.extend(write.values.iter().cloned());
        }
        Self { writes, before, values, parts: Vec::with_capacity(writes.len()), first: None }
    }

    /// Adds what says whether all guards hold, if there are any.
    fn guard(&mut self) -> bool {
        let guarded: Vec<(usize, &Write, &String)> = self
            .writes
            .iter()
            .enumerate()
            .filter_map(|(at, write)| Some((at, write, write.guard.as_ref()?)))
            .collect();
        let mut hold = Vec::with_capacity(guarded.len());
        for (at, write, lock) in &guarded {
            // A single row is changed or is not: nothing has to be locked before.
            let name = if guarded.len() == 1 && write.rows == 1 {
                self.first = Some(*at);
                self.write(*at, "")
            } else {
                let name = format!("lock{at}");
                self.parts.push(format!("{name} AS MATERIALIZED ({})", renumbered(lock, self.before[*at])));
                name
            };
            hold.push(self.has(&name, write.rows));
        }
        if !hold.is_empty() {
            self.parts.push(format!("guard (holds) AS (SELECT {})", hold.join(" AND ")));
        }
        !hold.is_empty()
    }

    /// Adds the writes that are no parts yet, each to be made where `condition` is true.
    fn write_all(&mut self, condition: &str) {
        for at in 0..self.writes.len() {
            if self.first != Some(at) {
                self.write(at, condition);
            }
        }
    }

    fn write(&mut self, at: usize, condition: &str) -> String {
        let (write, name) = (&self.writes[at], format!("write{at}"));
        let sql = renumbered(&write.sql, self.before[at]);
        self.parts.push(format!("{name} AS ({sql}{condition}{} RETURNING 1)", write.end));
        name
    }

    /// Of each write, the condition that it has changed the rows that it has to change.
    fn complete(&mut self) -> Vec<String> {
        let writes = self.writes;
        writes.iter().enumerate().map(|(at, write)| self.has(&format!("write{at}"), write.rows)).collect()
    }

    fn has(&mut self, part: &str, rows: usize) -> String {
        self.values.push(i64::try_from(rows).unwrap_or(i64::MAX).into());
        format!("(SELECT COUNT(*) FROM {part}) = ${}", self.values.len())
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
