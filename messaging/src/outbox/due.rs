//! Which rows may leave now.

use sea_orm::{ConnectionTrait, DbErr, EntityTrait as _, Statement, Value};

use super::{Entity, Model};

/// The payloads of what is taken at a time, in bytes, unless a single one is larger: what a relay holds in memory.
const TAKEN_BYTES: i64 = 8 * 1024 * 1024;

/// Rows that were tried and are due come behind those that never were, so that they cannot keep others from leaving.
///
/// A row is held back while an earlier one of its key has to wait longer: the order of a key outlives a refusal. What no
/// queue is bound for holds back only its own kind, because it may wait for ever for somebody who never comes.
const DUE: &str = "SELECT * FROM (
        SELECT due.*, SUM(length(payload)) OVER (ORDER BY next_attempt_time, seq) - length(payload) AS bytes_ahead FROM (
            SELECT * FROM outbox AS candidate
            WHERE next_attempt_time <= $1 AND NOT EXISTS (
                SELECT 1 FROM outbox AS earlier
                WHERE earlier.partition_key = candidate.partition_key AND earlier.seq < candidate.seq
                    AND earlier.next_attempt_time > 0 AND earlier.next_attempt_time > candidate.next_attempt_time
                    AND (earlier.state = 0 OR earlier.kind = candidate.kind)
            )
            ORDER BY next_attempt_time, seq LIMIT $2
        ) AS due
    ) AS counted
    WHERE bytes_ahead < $3 ORDER BY next_attempt_time, seq";

/// The rows that are due at `now`, in the order in which they are to leave.
pub(crate) async fn due(
    connection: &impl ConnectionTrait,
    now: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let values: [Value; 3] =
        [now.into(), i64::try_from(limit).unwrap_or(i64::MAX).into(), TAKEN_BYTES.into()];
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), DUE, values);
    Entity::find().from_raw_sql(statement).all(connection).await
}
