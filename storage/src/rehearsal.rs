//! Rehearsals: transactions that are rolled back whatever comes of them, and that say which rows they would have changed.
//!
//! Nothing is guessed from what a statement means: on PostgreSQL each statement that changes rows also returns them, which is added to its
//! text, and on SQLite temporary triggers, which the rollback takes away, note each row.

mod rows;
mod postgres;
mod sqlite;

use std::{collections::HashMap, fmt, future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt as _;
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use tokio::sync::Mutex;

pub use self::rows::Change;
use self::rows::Known;
use crate::{database::Database, failure::Failure, transact::Body, transaction::Transaction};

/// A transaction that will be rolled back.
pub struct Rehearsal {
    database: Database,
    transaction: Transaction,
    known: Mutex<Known>,
}

impl Database {
    /// Runs `body` in a transaction and rolls it back. Unlike [`Database::transact`] it is tried once.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn rehearse<T, B>(&self, body: B) -> Result<T, Failure>
    where
        T: Send + 'static,
        B: for<'r> FnOnce(&'r Rehearsal) -> Body<'r, T> + Send + 'static,
    {
        let database = self.clone();
        let task = tokio::spawn(async move {
            let rehearsal = Rehearsal::begin(database).await?;
            // A panic must not leave the transaction to the end of its connection.
            let outcome = AssertUnwindSafe(body(&rehearsal)).catch_unwind().await;
            rehearsal.transaction.rollback().await;
            outcome.map_err(|_| Failure::Panicked)?.map_err(Failure::from)
        });
        task.await.unwrap_or(Err(Failure::Panicked))
    }
}

impl Rehearsal {
    async fn begin(database: Database) -> Result<Self, DbErr> {
        let transaction = database.write().begin().await?;
        let (transaction, keys) = match transaction.get_database_backend() {
            DbBackend::Postgres => {
                postgres::begin(&transaction).await?;
                (transaction.noting(), HashMap::new())
            }
            _ => {
                let keys = sqlite::begin(&transaction).await?;
                (transaction, keys)
            }
        };
        let known = Mutex::new(Known { keys, rows: HashMap::new() });
        Ok(Self { database, transaction, known })
    }

    /// Where the statements go.
    #[must_use]
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Does a part of it, which an error or a panic takes back alone.
    ///
    /// # Errors
    /// When the transaction is lost as a whole.
    pub async fn attempt<T>(
        &self,
        part: impl Future<Output = Result<T, DbErr>> + Send,
    ) -> Result<Result<T, Failure>, DbErr> {
        self.transaction.savepoint().await?;
        let failure = match AssertUnwindSafe(part).catch_unwind().await {
            Ok(Ok(done)) => {
                self.transaction.release().await?;
                return Ok(Ok(done));
            }
            Ok(Err(error)) => Failure::from(error),
            Err(_) => Failure::Panicked,
        };
        self.transaction.back_to_savepoint().await?;
        Ok(Err(failure))
    }

    /// The rows that have changed since this was called before: each once, in the order in which they changed first.
    ///
    /// # Errors
    /// As the database says.
    pub async fn changes(&self) -> Result<Vec<Change>, DbErr> {
        let mut known = self.known.lock().await;
        let postgres = self.transaction.get_database_backend() == DbBackend::Postgres;
        let noted = if postgres {
            let noted = postgres::noted(&self.transaction).await?;
            postgres::find_keys(&self.transaction, &noted, &mut known.keys).await?;
            noted
        } else {
            sqlite::noted(&self.transaction).await?
        };
        if postgres {
            postgres::find_before(self.database.read(), &noted, &mut known).await?;
        }
        Ok(known.take_in(noted))
    }
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsal").field("transaction", &self.transaction).finish_non_exhaustive()
    }
}
