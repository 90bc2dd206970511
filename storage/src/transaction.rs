//! A transaction: a connection for itself, which is used again only when the database has said that the transaction is over.
//!
//! Some errors end a transaction (SQLite: FULL, IOERR, NOMEM, INTERRUPT), some leave it open (BUSY at COMMIT), and PostgreSQL says
//! COMMIT has worked when it has rolled back because of an earlier error. So after the first error nothing is done in it any more but
//! to roll it back.

use std::fmt;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, sqlx};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    connections::{Checkout, Connections, concerns_the_statement},
    failpoint,
    failure::{Failure, before_commit},
    noting::noting,
};

/// How long one of many that are tried alone waits for a lock at first. Together they have waited for longer, and 256 of which each waits
/// for a row that is held are through within a second.
pub(crate) const FIRST_WAIT: &str = "SET LOCAL lock_timeout = '10ms'";

/// An open transaction. Dropped, it is rolled back, and its connection is closed.
pub struct Transaction {
    backend: DbBackend,
    state: Mutex<State>,
    /// Whether its statements note the rows that they change, as in a rehearsal on PostgreSQL.
    is_noting: bool,
}

struct State {
    /// `None` while a statement is under way, so that one that is given up takes the connection with it.
    checkout: Option<Checkout>,
    failed: Option<RuntimeErr>,
    /// An error that was taken back, of a statement that may be at fault another time.
    recovered: Option<RuntimeErr>,
}

/// The right to make the next statement.
struct Next<'t> {
    state: MutexGuard<'t, State>,
    checkout: Checkout,
}

impl Connections {
    pub(crate) async fn begin(&self) -> Result<Transaction, DbErr> {
        self.checkout().await?.begin().await
    }
}

impl Checkout {
    pub(crate) async fn begin(mut self) -> Result<Transaction, DbErr> {
        let backend = self.backend();
        if let Err(error) = self.send_begin().await {
            self.close_after(&error);
            return Err(DbErr::Exec(RuntimeErr::SqlxError(error.into())));
        }
        let state = State { checkout: Some(self), failed: None, recovered: None };
        Ok(Transaction { backend, state: Mutex::new(state), is_noting: false })
    }
}

impl Transaction {
    /// Waits for a lock no longer than 10 ms from now on. On SQLite, where there is one lock, nothing changes.
    ///
    /// # Errors
    /// As the database says.
    pub async fn wait_briefly(&self) -> Result<(), DbErr> {
        if self.backend == DbBackend::Postgres {
            self.execute_unprepared(FIRST_WAIT).await?;
        }
        Ok(())
    }

    /// Commits.
    ///
    /// # Errors
    /// [`Failure::Unknown`] when it may have committed all the same.
    pub(crate) async fn commit(self) -> Result<(), Failure> {
        let State { checkout, failed, .. } = self.state.into_inner();
        if let Some(error) = failed {
            roll_back(checkout, Some(&error)).await;
            return Err(DbErr::Exec(error).into());
        }
        let checkout = checkout.ok_or_else(|| Failure::from(DbErr::Exec(given_up())))?;
        commit(checkout).await.map_err(Failure::of_commit)
    }

    /// Ends it after its only statement, of which this has come: commits, or rolls back.
    ///
    /// # Errors
    /// As the database says, of the statement or of the COMMIT. [`Failure::of_commit`] of it is unknown only when the COMMIT was sent.
    pub(crate) async fn end<T>(self, outcome: Result<T, DbErr>) -> Result<T, DbErr> {
        let done = match outcome {
            Ok(done) => done,
            Err(error) => {
                self.rollback().await;
                return Err(before_commit(error));
            }
        };
        let checkout = self.state.into_inner().checkout;
        let checkout = checkout.ok_or_else(|| before_commit(DbErr::Exec(given_up())))?;
        commit(checkout).await.map(|()| done)
    }

    /// Rolls back. Where that fails the end of the connection does it.
    pub(crate) async fn rollback(self) {
        let State { checkout, failed, recovered } = self.state.into_inner();
        roll_back(checkout, failed.as_ref().or(recovered.as_ref())).await;
    }

    /// The same, whose statements note from now on the rows that they change.
    pub(crate) fn noting(self) -> Self {
        Self { is_noting: true, ..self }
    }

    /// Begins a part that can be taken back alone.
    pub(crate) async fn savepoint(&self) -> Result<(), DbErr> {
        self.execute_unprepared("SAVEPOINT part").await.map(drop)
    }

    /// Ends a part that stays.
    pub(crate) async fn release(&self) -> Result<(), DbErr> {
        self.execute_unprepared("RELEASE SAVEPOINT part").await.map(drop)
    }

    /// Takes a part back, with the error that has ended it. What has ended the whole transaction, or left its connection in doubt, cannot
    /// be taken back.
    pub(crate) async fn back_to_savepoint(&self) -> Result<(), DbErr> {
        let mut state = self.state.lock().await;
        let Some(mut checkout) = state.checkout.take() else {
            return Err(DbErr::Exec(state.failed.clone().unwrap_or_else(given_up)));
        };
        match checkout.execute_unprepared("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part").await {
            Ok(_) => {
                state.checkout = Some(checkout);
                let failed = state.failed.take();
                state.recovered = failed.or(state.recovered.take());
                Ok(())
            }
            Err(error) => {
                checkout.close_after(&error);
                let error = RuntimeErr::SqlxError(error.into());
                state.failed = Some(error.clone());
                Err(DbErr::Exec(error))
            }
        }
    }

    fn noted(&self, statement: Statement) -> Statement {
        if !self.is_noting {
            return statement;
        }
        Statement { sql: noting(&statement.sql), ..statement }
    }

    async fn next(&self) -> Result<Next<'_>, RuntimeErr> {
        let mut state = self.state.lock().await;
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let checkout = state.checkout.take().ok_or_else(given_up)?;
        Ok(Next { state, checkout })
    }
}

async fn commit(mut checkout: Checkout) -> Result<(), DbErr> {
    failpoint::at("transaction.before_commit");
    match checkout.execute_unprepared("COMMIT").await {
        Ok(_) => {
            failpoint::at("transaction.after_commit");
            checkout.give_back();
            Ok(())
        }
        Err(error) => {
            if failpoint::planted("writer_reused") {
                checkout.give_back();
            } else {
                checkout.close_after(&error);
            }
            Err(DbErr::Exec(RuntimeErr::SqlxError(error.into())))
        }
    }
}

impl Next<'_> {
    fn end<T>(self, outcome: Result<T, sqlx::Error>) -> Result<T, RuntimeErr> {
        let Self { mut state, checkout } = self;
        match outcome {
            Ok(done) => {
                state.checkout = Some(checkout);
                Ok(done)
            }
            Err(error) => {
                match error {
                    sqlx::Error::Database(_) => state.checkout = Some(checkout),
                    _ => checkout.close_after(&error),
                }
                let error = RuntimeErr::SqlxError(error.into());
                state.failed = Some(error.clone());
                Err(error)
            }
        }
    }
}

/// After an error that is not about the data (a plan that no longer fits its table, say), the next one would meet it again: the connection
/// is then closed.
async fn roll_back(checkout: Option<Checkout>, failed: Option<&RuntimeErr>) {
    let Some(mut checkout) = checkout else { return };
    let is_well = match failed {
        None => true,
        Some(RuntimeErr::SqlxError(error)) => concerns_the_statement(error),
        Some(RuntimeErr::Internal(_)) => false,
    };
    match checkout.execute_unprepared("ROLLBACK").await {
        Ok(_) if is_well => checkout.give_back(),
        Ok(_) => {}
        Err(error) => checkout.close_after(&error),
    }
}

/// Of a transaction in which a statement was given up half-way.
fn given_up() -> RuntimeErr {
    RuntimeErr::SqlxError(sqlx::Error::WorkerCrashed.into())
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let statement = self.noted(statement);
        let mut next = self.next().await.map_err(DbErr::Exec)?;
        let done = next.checkout.execute(statement).await;
        next.end(done).map_err(DbErr::Exec)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut next = self.next().await.map_err(DbErr::Exec)?;
        let done = next.checkout.execute_unprepared(sql).await;
        next.end(done).map_err(DbErr::Exec)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let statement = self.noted(statement);
        let mut next = self.next().await.map_err(DbErr::Query)?;
        let row = next.checkout.query_one(statement).await;
        next.end(row).map_err(DbErr::Query)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let statement = self.noted(statement);
        let mut next = self.next().await.map_err(DbErr::Query)?;
        let rows = next.checkout.query_all(statement).await;
        next.end(rows).map_err(DbErr::Query)
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("backend", &self.backend).finish_non_exhaustive()
    }
}
