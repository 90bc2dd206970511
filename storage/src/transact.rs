//! Transactions that nobody cancels.
//!
//! A handler's future is dropped when its client goes away, and whether a statement that is given up half-way took effect nobody
//! knows; its connection has to be closed. So a transaction runs in a task of its own, and its caller only waits.

use std::{future::Future, pin::Pin, time::Duration};

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};

use crate::{
    connections::Connections, database::Database, executor::Executor, failure::Failure,
    transaction::Transaction,
};

/// What a transaction's body returns.
pub type Body<'t, T> = Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 't>>;

/// Attempts at a transaction that others get in the way of.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(5);

impl Database {
    /// Runs `body` in a transaction and commits it; an error or a panic rolls it back. When others get in the way, it runs
    /// again, up to four times in all, but not after a wait of 5 s for a lock: the body must have no effect outside of the transaction.
    ///
    /// # Errors
    /// As [`Failure`] says. Only after [`Failure::Unknown`] the transaction may have taken effect.
    pub async fn transact<T, B>(&self, body: B) -> Result<T, Failure>
    where
        T: Send + 'static,
        B: for<'t> Fn(&'t Transaction) -> Body<'t, T> + Send + Sync + 'static,
    {
        transact_on(self.write(), body).await
    }

    /// Runs a body whose statements are transactions by themselves, where a begin and a commit would only cost round trips. Otherwise as
    /// [`Database::transact`].
    ///
    /// # Errors
    /// As [`Database::transact`].
    pub async fn execute<T, B>(&self, body: B) -> Result<T, Failure>
    where
        T: Send + 'static,
        B: for<'c> Fn(Executor<'c>) -> Body<'c, T> + Send + Sync + 'static,
    {
        execute_on(self.single(), body).await
    }

    /// Runs one statement in a transaction of its own, and returns how many rows it touched. On PostgreSQL the commit waits for no flush:
    /// a crash of the server may undo it, so it is for what is simply done again then.
    ///
    /// # Errors
    /// As [`Database::transact`], but on PostgreSQL others that get in the way are not tried again.
    pub async fn execute_unflushed(&self, sql: String) -> Result<u64, Failure> {
        if self.backend() == DbBackend::Postgres {
            return Ok(self.unflushed().execute_unprepared(&sql).await?.rows_affected());
        }
        let executed = self.transact(move |transaction| {
            let sql = sql.clone();
            Box::pin(async move { Ok(transaction.execute_unprepared(&sql).await?.rows_affected()) })
        });
        executed.await
    }
}

/// As [`Database::transact`], over these connections.
pub(crate) async fn transact_on<T, B>(connections: &Connections, body: B) -> Result<T, Failure>
where
    T: Send + 'static,
    B: for<'t> Fn(&'t Transaction) -> Body<'t, T> + Send + Sync + 'static,
{
    let connections = connections.clone();
    let task = tokio::spawn(async move {
        let mut attempts = Attempts::default();
        loop {
            let outcome = attempt(&connections, &body).await;
            let Some(pause) = attempts.another(&outcome) else { return outcome };
            tokio::time::sleep(pause).await;
        }
    });
    task.await.unwrap_or(Err(Failure::Panicked))
}

/// As [`Database::execute`], over these connections.
pub(crate) async fn execute_on<T, B>(connections: &Connections, body: B) -> Result<T, Failure>
where
    T: Send + 'static,
    B: for<'c> Fn(Executor<'c>) -> Body<'c, T> + Send + Sync + 'static,
{
    let connections = connections.clone();
    let task = tokio::spawn(async move {
        let mut attempts = Attempts::default();
        loop {
            let outcome = body(Executor::Connections(&connections)).await.map_err(Failure::of_commit);
            let Some(pause) = attempts.another(&outcome) else { return outcome };
            tokio::time::sleep(pause).await;
        }
    });
    task.await.unwrap_or(Err(Failure::Panicked))
}

async fn attempt<T, B>(connections: &Connections, body: &B) -> Result<T, Failure>
where
    B: for<'t> Fn(&'t Transaction) -> Body<'t, T>,
{
    let transaction = connections.begin().await?;
    match body(&transaction).await {
        Ok(value) => {
            transaction.commit().await?;
            Ok(value)
        }
        Err(error) => {
            transaction.rollback().await;
            Err(error.into())
        }
    }
}

/// The attempts at something that others get in the way of.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    made: u32,
}

impl Attempts {
    /// How long to wait before another attempt, if this outcome calls for one.
    pub(crate) fn another<T>(&mut self, outcome: &Result<T, Failure>) -> Option<Duration> {
        self.made += 1;
        match outcome {
            // It was waited for already.
            Err(failure) if failure.is_held() => None,
            Err(Failure::Contention(cause)) if self.made < ATTEMPTS => {
                // What a conditional write met is there for good: nobody has to be waited for.
                let met =
                    self.made == 1 && matches!(**cause, DbErr::RecordNotUpdated | DbErr::RecordNotInserted);
                Some(if met { Duration::ZERO } else { PAUSE * (1 << (self.made - 1)) })
            }
            _ => None,
        }
    }
}
