//! Leases: of several processes on one database, a single one at a time does a thing.
//!
//! Only the database's clock counts, so the processes' own may differ. Each holder has a token higher than all before it.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait as _, DbBackend, Statement, Value};

use crate::{database::Database, failure::Failure};

/// The table of leases, for a service's migrations.
pub const TABLE: &str = "CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    token {int} NOT NULL,
    expire_time {int} NOT NULL
) {strict}";

/// Who has a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The name that the holder has given itself.
    pub holder: String,
    /// For how long, by the database's clock, unless it is renewed.
    pub left: Duration,
}

/// Who has the lease `name`, if anybody has.
///
/// # Errors
/// As the database says.
pub async fn held(database: &Database, name: &str) -> Result<Option<Held>, Failure> {
    let backend = database.backend();
    let sql = format!("SELECT holder, expire_time - {} FROM leases WHERE name = $1", now(backend));
    let find = Statement::from_sql_and_values(backend, sql, [name.into()]);
    let Some(row) = database.read().query_one_raw(find).await? else { return Ok(None) };
    let left = u64::try_from(row.try_get_by_index::<i64>(1)?).unwrap_or_default();
    let holder = row.try_get_by_index(0)?;
    Ok((left > 0).then_some(Held { holder, left: Duration::from_micros(left) }))
}

/// What an attempt at a lease came to.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Won(Box<Lease>),
    /// Somebody else has it, for this long at least.
    Taken(Duration),
}

/// A lease that was won. It ends by itself unless it is kept.
pub struct Lease {
    database: Database,
    name: String,
    token: i64,
    term: Duration,
    /// Until when it is ours for certain, by this process's clock.
    until: Mutex<Instant>,
}

impl Lease {
    /// Tries to win the lease `name` for `term`. A holder that tries again under the same name wins it from itself at once.
    ///
    /// # Errors
    /// As the database says.
    pub async fn attempt(
        database: &Database,
        name: &str,
        holder: &str,
        term: Duration,
    ) -> Result<Attempt, Failure> {
        // Read first: the attempt itself locks the row, even when it is in vain.
        if let Some(left) = left_to_another(database, name, holder).await? {
            return Ok(Attempt::Taken(left));
        }
        let begun = Instant::now();
        let backend = database.backend();
        let now = now(backend);
        let sql = format!(
            "INSERT INTO leases (name, holder, token, expire_time) VALUES ($1, $2, 1, {now} + $3)
             ON CONFLICT (name) DO UPDATE
             SET holder = excluded.holder, token = leases.token + 1, expire_time = excluded.expire_time
             WHERE leases.expire_time <= {now} OR leases.holder = excluded.holder
             RETURNING token"
        );
        let values: [Value; 3] = [name.into(), holder.into(), micros(term).into()];
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let won = database.transact(move |transaction| {
            let statement = statement.clone();
            Box::pin(async move {
                let row = transaction.query_one_raw(statement).await?;
                row.map(|row| row.try_get_by_index::<i64>(0)).transpose()
            })
        });
        Ok(match won.await? {
            // From before the question: the database counts from a later moment.
            Some(token) => Attempt::Won(Box::new(Self {
                database: database.clone(),
                name: name.to_owned(),
                token,
                term,
                until: Mutex::new(begun + term),
            })),
            // Somebody was faster.
            None => Attempt::Taken(term),
        })
    }

    /// Higher than that of every holder before.
    #[must_use]
    pub const fn token(&self) -> i64 {
        self.token
    }

    /// How long it is still ours for certain.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.saturating_duration_since(Instant::now())
    }

    /// Renews it every third of its term, and returns once it cannot be counted on: when somebody else has it, or when
    /// less than `margin` remains.
    pub async fn keep(&self, margin: Duration) {
        loop {
            let sure = self.remaining().saturating_sub(margin);
            tokio::time::sleep(sure.min(self.term / 3)).await;
            let sure = self.remaining().saturating_sub(margin);
            match tokio::time::timeout(sure, self.renew()).await {
                Ok(Ok(true)) => {}
                Ok(Err(failure)) if !sure.is_zero() => {
                    tracing::warn!(lease.name = self.name, error = %failure, "a lease could not be renewed: trying again");
                }
                _ => return,
            }
        }
    }

    async fn renew(&self) -> Result<bool, Failure> {
        let begun = Instant::now();
        let renewed =
            self.set_expiry(&format!("{} + $3", now(self.database.backend())), micros(self.term)).await?;
        if renewed {
            *self.until.lock().unwrap_or_else(PoisonError::into_inner) = begun + self.term;
        }
        Ok(renewed)
    }

    /// Gives it back, so that nobody has to wait for its end.
    ///
    /// # Errors
    /// As the database says; it then ends by itself.
    pub async fn release(self) -> Result<(), Failure> {
        self.set_expiry("$3", 0).await.map(drop)
    }

    /// Whether it was still ours.
    async fn set_expiry(&self, expiry: &str, value: i64) -> Result<bool, Failure> {
        let backend = self.database.backend();
        let sql = format!(
            "UPDATE leases SET expire_time = {expiry} WHERE name = $1 AND token = $2 AND expire_time > {}",
            now(backend)
        );
        let values: [Value; 3] = [self.name.as_str().into(), self.token.into(), value.into()];
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let updated = self.database.transact(move |transaction| {
            let statement = statement.clone();
            Box::pin(async move { Ok(transaction.execute_raw(statement).await?.rows_affected()) })
        });
        Ok(updated.await? == 1)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("name", &self.name).field("token", &self.token).finish_non_exhaustive()
    }
}

async fn left_to_another(database: &Database, name: &str, holder: &str) -> Result<Option<Duration>, Failure> {
    let backend = database.backend();
    let sql = format!("SELECT expire_time - {} FROM leases WHERE name = $1 AND holder <> $2", now(backend));
    let values: [Value; 2] = [name.into(), holder.into()];
    let row = database.read().query_one_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    let left = row.map(|row| row.try_get_by_index::<i64>(0)).transpose()?;
    Ok(left.and_then(|left| u64::try_from(left).ok()).filter(|left| *left > 0).map(Duration::from_micros))
}

/// The database's clock, in microseconds since the Unix epoch, as an expression of SQL.
#[must_use]
pub const fn now(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
        _ => "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
