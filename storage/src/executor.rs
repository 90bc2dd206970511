//! Where statements can go: into a transaction, or each as one of its own.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use crate::{connections::Connections, transaction::Transaction};

/// Where statements go.
#[derive(Debug, Clone, Copy)]
pub enum Executor<'c> {
    /// Into this transaction.
    Transaction(&'c Transaction),
    /// Each as a transaction of its own.
    Connections(&'c Connections),
}

/// How rows are read that something rests on which is written next.
#[derive(Debug, Clone, Copy)]
pub enum Reading<'c> {
    /// Nothing is locked: what is written has to make sure that they still are as they were read.
    Optimistic(Executor<'c>),
    /// They are locked until the end of this transaction.
    Locked(&'c Transaction),
}

impl<'c> Reading<'c> {
    /// Where the statements go.
    #[must_use]
    pub const fn executor(self) -> Executor<'c> {
        match self {
            Self::Optimistic(executor) => executor,
            Self::Locked(transaction) => Executor::Transaction(transaction),
        }
    }

    /// Whether rows are to be locked.
    #[must_use]
    pub const fn locks(self) -> bool {
        matches!(self, Self::Locked(_))
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Executor<'_> {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Transaction(transaction) => transaction.get_database_backend(),
            Self::Connections(connections) => connections.get_database_backend(),
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Transaction(transaction) => transaction.execute_raw(statement).await,
            Self::Connections(connections) => connections.execute_raw(statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Transaction(transaction) => transaction.execute_unprepared(sql).await,
            Self::Connections(connections) => connections.execute_unprepared(sql).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Transaction(transaction) => transaction.query_one_raw(statement).await,
            Self::Connections(connections) => connections.query_one_raw(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Transaction(transaction) => transaction.query_all_raw(statement).await,
            Self::Connections(connections) => connections.query_all_raw(statement).await,
        }
    }
}
