//! Statements that are transactions by themselves, or are in one of their own where sessions keep nothing.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, sqlx};

use super::{Checkout, Connections, concerns_the_statement};
use crate::{failure::before_commit, transaction::Transaction};

impl Connections {
    /// Makes a statement that cannot be in a transaction, as VACUUM. Where sessions keep nothing it has the settings of its role.
    ///
    /// # Errors
    /// As the database says.
    pub async fn execute_outside(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut checkout = self.checkout().await?;
        let done = checkout.execute_unprepared(sql).await;
        checkout.end(done).map_err(DbErr::Exec)
    }

    /// Begins the transaction of one statement, where it has to be in one.
    async fn around_one(&self) -> Result<Option<Transaction>, DbErr> {
        if !self.shared.server.needs_transactions() {
            return Ok(None);
        }
        self.begin().await.map(Some).map_err(before_commit)
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Connections {
    fn get_database_backend(&self) -> DbBackend {
        self.shared.server.backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        if let Some(transaction) = self.around_one().await? {
            let done = transaction.execute_raw(statement).await;
            return transaction.end(done).await;
        }
        let mut checkout = self.checkout().await?;
        let done = checkout.execute(statement).await;
        checkout.end(done).map_err(DbErr::Exec)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        if let Some(transaction) = self.around_one().await? {
            let done = transaction.execute_unprepared(sql).await;
            return transaction.end(done).await;
        }
        self.execute_outside(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        if let Some(transaction) = self.around_one().await? {
            let row = transaction.query_one_raw(statement).await;
            return transaction.end(row).await;
        }
        let mut checkout = self.checkout().await?;
        let row = checkout.query_one(statement).await;
        checkout.end(row).map_err(DbErr::Query)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        if let Some(transaction) = self.around_one().await? {
            let rows = transaction.query_all_raw(statement).await;
            return transaction.end(rows).await;
        }
        let mut checkout = self.checkout().await?;
        let rows = checkout.query_all(statement).await;
        checkout.end(rows).map_err(DbErr::Query)
    }
}

impl Checkout {
    /// Gives it back after a statement with this outcome that was a transaction by itself, unless it is of no further use.
    fn end<T>(self, outcome: Result<T, sqlx::Error>) -> Result<T, RuntimeErr> {
        match outcome {
            Ok(done) => {
                self.give_back();
                Ok(done)
            }
            Err(error) => {
                if concerns_the_statement(&error) {
                    self.give_back();
                } else {
                    self.close_after(&error);
                }
                Err(RuntimeErr::SqlxError(error.into()))
            }
        }
    }
}
