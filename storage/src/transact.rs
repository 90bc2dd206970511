//! Transactions that nobody cancels.
//!
//! A handler's future is dropped when its client goes away, and a `BEGIN` that is dropped half-way leaves a connection with an
//! open transaction in the pool (sqlx 0.9). So a transaction runs in a task of its own, and who asked for it only waits.

use std::{future::Future, pin::Pin, time::Duration};

use sea_orm::{
    ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait as _,
};

use crate::{database::Database, failure::Failure};

/// What a transaction's body returns.
pub type Body<'t, T> = Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 't>>;

/// Attempts at a transaction that others get in the way of.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(5);

impl Database {
    /// Runs `body` in a transaction and commits it; an error or a panic rolls it back. When others get in the way, it runs
    /// again, up to four times in all: the body must have no effect outside of the transaction.
    ///
    /// # Errors
    /// As [`Failure`] says. After [`Failure::Unavailable`] the transaction may have taken effect.
    pub async fn transact<T, B>(&self, body: B) -> Result<T, Failure>
    where
        T: Send + 'static,
        B: for<'t> Fn(&'t DatabaseTransaction) -> Body<'t, T> + Send + Sync + 'static,
    {
        let database = self.clone();
        let task = tokio::spawn(async move {
            let mut pause = PAUSE;
            for _ in 1..ATTEMPTS {
                match database.attempt(&body).await {
                    Err(Failure::Contention(_)) => tokio::time::sleep(pause).await,
                    settled => return settled,
                }
                pause *= 2;
            }
            database.attempt(&body).await
        });
        task.await.unwrap_or(Err(Failure::Panicked))
    }

    /// Runs one statement in a transaction of its own, and returns how many rows it touched. On PostgreSQL the commit waits for no flush,
    /// and all of it takes one round trip: a crash of the server may undo it, so it is for what is simply done again then.
    ///
    /// # Errors
    /// As [`Database::transact`], but on PostgreSQL others that get in the way are not tried again.
    pub async fn execute_unflushed(&self, sql: String) -> Result<u64, Failure> {
        if self.backend() == DbBackend::Postgres {
            // Two statements in one string are one transaction (PostgreSQL, chapter 55.2.2.1).
            let both = format!("SET LOCAL synchronous_commit = off; {sql}");
            return Ok(self.write().execute_unprepared(&both).await?.rows_affected());
        }
        let executed = self.transact(move |transaction| {
            let sql = sql.clone();
            Box::pin(async move { Ok(transaction.execute_unprepared(&sql).await?.rows_affected()) })
        });
        executed.await
    }

    async fn attempt<T, B>(&self, body: &B) -> Result<T, Failure>
    where
        B: for<'t> Fn(&'t DatabaseTransaction) -> Body<'t, T>,
    {
        let options = TransactionOptions {
            // A deferred transaction that reads and then writes fails as busy, whatever the timeout.
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = self.write().begin_with_options(options).await?;
        match body(&transaction).await {
            Ok(value) => {
                transaction.commit().await?;
                Ok(value)
            }
            Err(error) => {
                // The error that counts is the one that we have; a failed rollback closes the connection.
                let _rolled_back = transaction.rollback().await;
                Err(error.into())
            }
        }
    }
}
