//! Which rows may leave now.

use sea_orm::{EntityTrait as _, Statement, Value};
use storage::{Database, Failure, rows};

use super::{Entity, Model, remove};

/// The payloads of what is taken at a time, in bytes, unless a single one is larger: what a relay holds in memory.
const TAKEN_BYTES: i64 = 8 * 1024 * 1024;

/// Rows that were tried and are due come behind those that never were, so that they cannot keep others from leaving.
///
/// A row is held back while an earlier one of its key has to wait longer: the order of a key outlives a refusal. What no
/// queue is bound for holds back only its own kind, because it may wait for ever for somebody who never comes.
const DUE: &str = "SELECT * FROM (
        SELECT due.*, SUM(length(payload)) OVER (ORDER BY next_attempt_time, seq) - length(payload) AS bytes_ahead FROM (
            SELECT {columns} FROM outbox AS candidate
            WHERE next_attempt_time <= $1 AND {others} AND NOT EXISTS (
                SELECT 1 FROM outbox AS earlier
                WHERE earlier.partition_key = candidate.partition_key AND earlier.seq < candidate.seq
                    AND earlier.next_attempt_time > 0 AND earlier.next_attempt_time > candidate.next_attempt_time
                    AND (earlier.state = 0 OR earlier.kind = candidate.kind)
            )
            ORDER BY next_attempt_time, seq LIMIT $2
        ) AS due
    ) AS counted
    WHERE bytes_ahead < $3 ORDER BY next_attempt_time, seq";

/// Removes the rows whose messages were `confirmed`, as [`remove`] does, and returns those that are due at `now`, in the order in which they
/// are to leave. On PostgreSQL both are one round trip.
pub(crate) async fn take(
    database: &Database,
    confirmed: &[i64],
    now: i64,
    limit: u64,
) -> Result<Vec<Model>, Failure> {
    let backend = database.backend();
    let mut values: Vec<Value> =
        vec![now.into(), i64::try_from(limit).unwrap_or(i64::MAX).into(), TAKEN_BYTES.into()];
    let sql = if database.is_embedded() {
        remove(database, confirmed).await?;
        due("true")
    } else {
        values.push(rows::one_of(backend, confirmed).value);
        let (gone, others) = ("string_to_array($4, ',')::bigint[]", "seq <> ALL");
        let due = due(&format!("{others}({gone})"));
        format!("WITH gone AS (DELETE FROM outbox WHERE seq = ANY({gone})) {due}")
    };
    let statement = Statement::from_sql_and_values(backend, sql, values);
    let due = Entity::find().from_raw_sql(statement).all(&database.unflushed()).await;
    due.map_err(Failure::from)
}

fn due(others: &str) -> String {
    DUE.replace("{columns}", &rows::columns::<Entity>()).replace("{others}", others)
}
