//! Transactions that nobody cancels.
//!
//! A handler's future is dropped when its client goes away, and whether a statement that is given up half-way took effect nobody
//! knows; its connection has to be closed. So a transaction runs in a task of its own, and its caller only waits. What nobody waits for any
//! more is not begun, and what was begun is rolled back at its end: a caller whose time is over may have asked again.

use std::{convert::Infallible, future::Future, pin::Pin, time::Duration};

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    connection::PATIENCE, connections::Connections, database::Database, executor::Executor, failpoint,
    failure::Failure, transaction::Transaction,
};

/// What a transaction's body returns.
pub type Body<'t, T> = Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 't>>;

/// Attempts at a transaction that others get in the way of.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(5);
/// Why nothing of a transaction was done. Nobody is there to read it.
const GONE: &str = "the caller has gone";

/// Closed once the caller of a transaction has gone.
type Caller = oneshot::Sender<Infallible>;

impl Database {
    /// Runs `body` in a transaction and commits it; an error or a panic rolls it back. When others get in the way, it runs
    /// again, up to four times in all, but not once 5 s have passed, as after a wait for a lock: the body must have no effect outside of the
    /// transaction. Dropping the future lets an attempt that is under way come to its end, and rolls it back unless its COMMIT was sent.
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
    // All attempts together wait for a lock as long as one.
    let connections = connections.waited_for_since(Instant::now());
    let (caller, _waiting) = oneshot::channel();
    let task = tokio::spawn(async move {
        let mut attempts = Attempts::begin();
        loop {
            let outcome = attempt(&connections, &body, &caller).await;
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
        let mut attempts = Attempts::begin();
        loop {
            failpoint::at("statement.before");
            let outcome = body(Executor::Connections(&connections)).await.map_err(Failure::of_commit);
            failpoint::at("statement.after");
            let Some(pause) = attempts.another(&outcome) else { return outcome };
            tokio::time::sleep(pause).await;
        }
    });
    task.await.unwrap_or(Err(Failure::Panicked))
}

async fn attempt<T, B>(connections: &Connections, body: &B, caller: &Caller) -> Result<T, Failure>
where
    B: for<'t> Fn(&'t Transaction) -> Body<'t, T>,
{
    let checkout = connections.checkout().await?;
    if caller.is_closed() {
        checkout.give_back();
        return Err(gone().into());
    }
    let transaction = checkout.begin().await?;
    match body(&transaction).await {
        // It may have waited for a lock.
        Ok(_) if caller.is_closed() => {
            transaction.rollback().await;
            Err(gone().into())
        }
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

/// Of what nobody waits for any more.
pub(crate) fn gone() -> DbErr {
    DbErr::Custom(GONE.to_owned())
}

/// Whether nothing was done because somebody who was to be answered has gone.
pub(crate) fn is_gone(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused(cause) if matches!(&**cause, DbErr::Custom(why) if why == GONE))
}

/// The attempts at something that others get in the way of.
#[derive(Debug)]
pub(crate) struct Attempts {
    begun: Instant,
    made: u32,
}

impl Attempts {
    /// Before the first one.
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), made: 0 }
    }

    /// How long to wait before another attempt, if this outcome calls for one.
    pub(crate) fn another<T>(&mut self, outcome: &Result<T, Failure>) -> Option<Duration> {
        self.made += 1;
        match outcome {
            // It was waited for already; SQLite does not say so by a code of its own.
            Err(failure) if failure.is_held() => None,
            _ if self.begun.elapsed() >= PATIENCE => None,
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
