//! What became of a window, written into its rows: one statement for each kind of outcome.
//!
//! A relay whose lease has passed may settle too: a confirmed message is confirmed whoever published it, and a row that is
//! gone is not touched.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};
use serde_json::{Value as Json, json};
use storage::{Connections, Database, Failure, Transaction, failpoint, rows};

use super::State;

/// Removes rows whose messages the broker has taken over. It waits for no flush: a crash of the server may bring back the rows of its
/// last moment, as a relay that dies before it has settled leaves them, and they are published again.
pub(crate) async fn remove(database: &Database, seqs: &[i64]) -> Result<(), Failure> {
    if seqs.is_empty() {
        return Ok(());
    }
    let seqs: Vec<String> = seqs.iter().map(i64::to_string).collect();
    let remove = format!("DELETE FROM outbox WHERE seq IN ({})", seqs.join(","));
    database.execute_unflushed(remove).await?;
    failpoint::at("relay.settled");
    Ok(())
}

/// Keeps rows that no queue was bound for until a later attempt. It costs none: nothing is wrong with them.
pub(crate) async fn unroutable(transaction: &Transaction, seqs: &[i64], until: i64) -> Result<(), DbErr> {
    if seqs.is_empty() {
        return Ok(());
    }
    let backend = transaction.get_database_backend();
    let keys = rows::one_of(backend, seqs);
    let sql = format!(
        "UPDATE outbox SET state = $2, next_attempt_time = $3, last_error = 'no queue is bound for this kind' WHERE seq {}",
        keys.condition
    );
    let values: [Value; 3] = [keys.value, (State::Unroutable as i16).into(), until.into()];
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// Lets rows leave now whose consumer took nothing. It waits for no flush: they leave later without it.
pub(crate) async fn release(database: &Database, now: i64) -> Result<(), Failure> {
    let release = format!(
        "UPDATE outbox SET next_attempt_time = {now} WHERE next_attempt_time > {now} AND state = 0 AND attempts = 0"
    );
    database.execute_unflushed(release).await.map(drop)
}

/// Keeps rows whose consumer takes nothing at present until a later attempt, or until [`release`]. It costs none.
pub(crate) async fn postpone(transaction: &Transaction, seqs: &[i64], until: i64) -> Result<(), DbErr> {
    if seqs.is_empty() {
        return Ok(());
    }
    let backend = transaction.get_database_backend();
    let keys = rows::one_of(backend, seqs);
    let sql = format!(
        "UPDATE outbox SET state = 0, next_attempt_time = $2, last_error = 'its consumer is paused' WHERE seq {}",
        keys.condition
    );
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, [keys.value, until.into()])).await?;
    Ok(())
}

/// A row that the broker refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) seq: i64,
    /// Its next attempt, in microseconds since the Unix epoch.
    pub(crate) until: i64,
    pub(crate) reason: String,
}

/// Keeps rows that the broker refused until an attempt of their own each.
pub(crate) async fn refuse(transaction: &Transaction, refusals: &[Refusal]) -> Result<(), DbErr> {
    if refusals.is_empty() {
        return Ok(());
    }
    let backend = transaction.get_database_backend();
    let refused = match backend {
        DbBackend::Sqlite => {
            "(SELECT value ->> 'seq' AS seq, value ->> 'until' AS until, value ->> 'reason' AS reason FROM json_each($1))"
        }
        _ => "(SELECT * FROM json_to_recordset($1::json) AS refused (seq bigint, until bigint, reason text))",
    };
    let sql = format!(
        "UPDATE outbox SET state = 0, attempts = attempts + 1, next_attempt_time = refused.until, last_error = refused.reason
         FROM {refused} AS refused WHERE outbox.seq = refused.seq"
    );
    let list: Json = refusals.iter().map(json).collect();
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, [list.to_string().into()])).await?;
    keep_order(transaction, refusals).await
}

/// No row may be due before an earlier one of its key that was refused: once both were due, the look would take the later one for one that is
/// held back, and go on with those behind it.
async fn keep_order(transaction: &Transaction, refusals: &[Refusal]) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    let refused: Vec<i64> = refusals.iter().map(|refusal| refusal.seq).collect();
    let refused = rows::one_of(backend, &refused);
    let sql = format!(
        "UPDATE outbox SET next_attempt_time = held.until FROM (
             SELECT later.seq, MAX(earlier.next_attempt_time) AS until FROM outbox AS earlier
             JOIN outbox AS later ON later.partition_key = earlier.partition_key AND later.seq > earlier.seq
                 AND later.next_attempt_time > 0 AND later.next_attempt_time < earlier.next_attempt_time
             WHERE earlier.seq {} GROUP BY later.seq
         ) AS held WHERE outbox.seq = held.seq",
        refused.condition
    );
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, [refused.value])).await?;
    Ok(())
}

fn json(Refusal { seq, until, reason }: &Refusal) -> Json {
    // PostgreSQL's text holds no NUL.
    json!({ "seq": seq, "until": until, "reason": reason.replace('\0', "\u{fffd}") })
}

/// Makes room where rows were removed. On SQLite it is there at once. Beside a server that is at it already, and for a user who may not,
/// nothing happens.
///
/// # Errors
/// As the database says.
pub(crate) async fn clean(connections: &Connections) -> Result<(), DbErr> {
    if connections.get_database_backend() == DbBackend::Postgres {
        connections.execute_outside("VACUUM (SKIP_LOCKED, TRUNCATE off) outbox").await?;
    }
    Ok(())
}
