//! One connection to a database of either kind.

use std::{io, time::Duration};

use sea_orm::{
    DbBackend, ExecResult, QueryResult, Statement,
    sea_query::Values,
    sqlx::{
        self, AssertSqlSafe, Connection as _, Executor as _, PgConnection, Postgres, SqliteConnection,
        query::Query, sqlite::SqliteConnectOptions,
    },
};
use sea_query_sqlx::SqlxValues;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{failpoint, failure::primary, session::Sessions};

/// How long a statement waits for a lock or a connection before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
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
    Postgres {
        session: PgConnection,
        /// Whether it keeps its prepared statements.
        prepares: bool,
    },
    Sqlite {
        file: SqliteConnection,
        /// How long it waits for a lock, as it was set last.
        lock_wait: Duration,
    },
}

impl Server {
    pub(crate) const fn backend(&self) -> DbBackend {
        match self {
            Self::Postgres(_) => DbBackend::Postgres,
            Self::Sqlite(_) => DbBackend::Sqlite,
        }
    }

    /// How a transaction begins.
    pub(crate) fn begin_transaction(&self) -> &str {
        match self {
            Self::Postgres(sessions) => sessions.begin_transaction(),
            // A deferred transaction that reads and then writes fails as busy, whatever the timeout.
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
        }
    }

    /// Whether a statement has to be in a transaction, as it is prepared and executed by sessions that keep nothing in between.
    pub(crate) const fn needs_transactions(&self) -> bool {
        match self {
            Self::Postgres(sessions) => !sessions.keep_anything(),
            Self::Sqlite(_) => false,
        }
    }

    /// Opens a connection. While another process turns a new SQLite file to WAL, or closes it as the last one, SQLite refuses at once
    /// and does not wait as `busy_timeout` says (two that wait for each other would wait in vain): it is tried again.
    pub(crate) async fn connect(&self, until: Instant) -> Result<Connection, sqlx::Error> {
        match self {
            Self::Postgres(sessions) => {
                let prepares = sessions.keep_anything();
                let session = within(until, sessions.begin()).await?;
                Ok(Connection::Postgres { session, prepares })
            }
            Self::Sqlite(file) => loop {
                match within(until, SqliteConnection::connect_with(file)).await {
                    Err(error) if is_busy(&error) && Instant::now() < until => sleep(PAUSE).await,
                    outcome => {
                        return outcome.map(|file| Connection::Sqlite { file, lock_wait: PATIENCE });
                    }
                }
            },
        }
    }
}

impl Connection {
    /// Whether it still answers. SQLite has no server that could go away.
    pub(crate) async fn is_well(&mut self) -> bool {
        match self {
            Self::Postgres { session, .. } => within(Instant::now() + WELL, session.ping()).await.is_ok(),
            Self::Sqlite { .. } => true,
        }
    }

    /// Waits for locks no longer than this from now on. A session of PostgreSQL has its own time from its start.
    pub(crate) async fn wait_for_locks(&mut self, most: Duration) -> Result<(), sqlx::Error> {
        let Self::Sqlite { file, lock_wait } = self else { return Ok(()) };
        if *lock_wait != most {
            let set = format!("PRAGMA busy_timeout = {}", most.as_millis());
            file.execute(AssertSqlSafe(set)).await?;
            *lock_wait = most;
        }
        Ok(())
    }

    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, sqlx::Error> {
        match self {
            Self::Postgres { session, prepares } => {
                session.execute(for_postgres(statement, *prepares)).await.map(ExecResult::from)
            }
            Self::Sqlite { file, .. } => file.execute(query(statement)).await.map(ExecResult::from),
        }
    }

    pub(crate) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, sqlx::Error> {
        if let Self::Sqlite { file, .. } = self
            && sql == "COMMIT"
            && failpoint::planted("commit_interrupted")
        {
            // SQLite interrupts it, and all statements after it.
            file.lock_handle().await?.set_progress_handler(1, || false);
        }
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres { session, .. } => session.execute(sql).await.map(ExecResult::from),
            Self::Sqlite { file, .. } => file.execute(sql).await.map(ExecResult::from),
        }
    }

    pub(crate) async fn query_one(
        &mut self,
        statement: Statement,
    ) -> Result<Option<QueryResult>, sqlx::Error> {
        match self {
            Self::Postgres { session, prepares } => {
                let row = session.fetch_optional(for_postgres(statement, *prepares)).await?;
                Ok(row.map(QueryResult::from))
            }
            // sqlx ends a statement of SQLite at its first row and does not look whether that has worked: one that writes and returns
            // would seem done when its commit has failed.
            Self::Sqlite { .. } => Ok(self.query_all(statement).await?.into_iter().next()),
        }
    }

    pub(crate) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, sqlx::Error> {
        Ok(match self {
            Self::Postgres { session, prepares } => {
                let rows = session.fetch_all(for_postgres(statement, *prepares)).await?;
                rows.into_iter().map(QueryResult::from).collect()
            }
            Self::Sqlite { file, .. } => {
                file.fetch_all(query(statement)).await?.into_iter().map(QueryResult::from).collect()
            }
        })
    }

    pub(crate) async fn close(self) {
        let _gone_already = match self {
            Self::Postgres { session, .. } => session.close().await,
            Self::Sqlite { file, .. } => file.close().await,
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

/// One that is not `prepared` for later has no name, which another client of the same process of the server may have used.
fn for_postgres(statement: Statement, prepared: bool) -> Query<'static, Postgres, SqlxValues> {
    query::<Postgres>(statement).persistent(prepared)
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
