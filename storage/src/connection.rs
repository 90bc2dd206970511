//! One connection to a database of either kind.

use std::{io, time::Duration};

use sea_orm::{
    DbBackend, ExecResult, QueryResult, Statement,
    sea_query::Values,
    sqlx::{
        self, AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection, query::Query,
        sqlite::SqliteConnectOptions,
    },
};
use sea_query_sqlx::SqlxValues;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{failure::primary, session::Sessions};

/// Between two attempts to open a SQLite file that is locked.
const PAUSE: Duration = Duration::from_millis(5);
/// A connection that was probed and has not answered for so long is given up: a new one is faster.
const WELL: Duration = Duration::from_secs(1);

/// Where connections lead, with their settings.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    Postgres(Box<Sessions>),
    Sqlite(Box<SqliteConnectOptions>),
}

pub(crate) enum Connection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Server {
    pub(crate) const fn backend(&self) -> DbBackend {
        match self {
            Self::Postgres(_) => DbBackend::Postgres,
            Self::Sqlite(_) => DbBackend::Sqlite,
        }
    }

    /// Opens a connection. While another process turns a new SQLite file to WAL, or closes it as the last one, SQLite refuses at once
    /// and does not wait as `busy_timeout` says (two that wait for each other would wait in vain): it is tried again.
    pub(crate) async fn connect(&self, until: Instant) -> Result<Connection, sqlx::Error> {
        match self {
            Self::Postgres(sessions) => within(until, sessions.begin()).await.map(Connection::Postgres),
            Self::Sqlite(file) => loop {
                match within(until, SqliteConnection::connect_with(file)).await {
                    Err(error) if is_busy(&error) && Instant::now() < until => sleep(PAUSE).await,
                    outcome => return outcome.map(Connection::Sqlite),
                }
            },
        }
    }
}

impl Connection {
    /// Whether it still answers. SQLite has no server that could go away.
    pub(crate) async fn is_well(&mut self) -> bool {
        match self {
            Self::Postgres(connection) => within(Instant::now() + WELL, connection.ping()).await.is_ok(),
            Self::Sqlite(_) => true,
        }
    }

    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, sqlx::Error> {
        match self {
            Self::Postgres(connection) => connection.execute(query(statement)).await.map(ExecResult::from),
            Self::Sqlite(connection) => connection.execute(query(statement)).await.map(ExecResult::from),
        }
    }

    pub(crate) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(connection) => connection.execute(sql).await.map(ExecResult::from),
            Self::Sqlite(connection) => connection.execute(sql).await.map(ExecResult::from),
        }
    }

    pub(crate) async fn query_one(
        &mut self,
        statement: Statement,
    ) -> Result<Option<QueryResult>, sqlx::Error> {
        match self {
            Self::Postgres(connection) => {
                Ok(connection.fetch_optional(query(statement)).await?.map(QueryResult::from))
            }
            // sqlx ends a statement of SQLite at its first row and does not look whether that has worked: one that writes and returns
            // would seem done when its commit has failed.
            Self::Sqlite(_) => Ok(self.query_all(statement).await?.into_iter().next()),
        }
    }

    pub(crate) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, sqlx::Error> {
        Ok(match self {
            Self::Postgres(connection) => {
                connection.fetch_all(query(statement)).await?.into_iter().map(QueryResult::from).collect()
            }
            Self::Sqlite(connection) => {
                connection.fetch_all(query(statement)).await?.into_iter().map(QueryResult::from).collect()
            }
        })
    }

    pub(crate) async fn close(self) {
        let _gone_already = match self {
            Self::Postgres(connection) => connection.close().await,
            Self::Sqlite(connection) => connection.close().await,
        };
    }
}

/// What comes of `work`, which is given up at the moment `until`, and not begun after it.
pub(crate) async fn within<T>(
    until: Instant,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    // A first poll would send it, a COMMIT as well, for nobody to take the answer.
    if Instant::now() >= until {
        return Err(sqlx::Error::PoolTimedOut);
    }
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the database has not answered in time");
    timeout_at(until, work).await.unwrap_or_else(|_| Err(sqlx::Error::Io(late())))
}

fn query<D: sqlx::Database>(statement: Statement) -> Query<'static, D, SqlxValues>
where
    SqlxValues: sqlx::IntoArguments<D>,
{
    let values = statement.values.unwrap_or(Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|refusal| primary(&refusal.code()?));
    code == Some(5)
}
