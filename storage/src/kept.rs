//! Connections to PostgreSQL for statements that are transactions by themselves.
//!
//! A pool asks each connection that is given back whether it is still well (`return_to_pool` in sqlx 0.9), which is a second round trip
//! for every statement, and it takes them in turn, so that the server's process is a cold one each time. Here the connection that was
//! used last is used next, and it is asked only after a rest.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{
    ConnAcquireErr, DbErr, ExecResult, QueryResult, RuntimeErr, Statement,
    sea_query::Values,
    sqlx::{
        self, AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection,
        postgres::PgConnectOptions,
    },
};
use sea_query_sqlx::SqlxValues;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::database::{FRESH, PATIENCE};

/// Connections at most: hardly anything in a process makes more statements at a time.
const MOST: usize = 4;
/// A connection ends with what the server has gathered for it.
const LIFETIME: Duration = Duration::from_secs(1_800);

/// Connections to a PostgreSQL server, opened when they are needed.
#[derive(Clone)]
pub struct Kept {
    shared: Arc<Shared>,
}

struct Shared {
    server: PgConnectOptions,
    turns: Arc<Semaphore>,
    /// The one that was used last on top.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: PgConnection,
    opened: Instant,
    used: Instant,
}

/// A connection in use. One that is not given back, because nobody waits for it any more, is closed.
struct Lent<'k> {
    connection: PgConnection,
    opened: Instant,
    home: &'k Shared,
    _turn: OwnedSemaphorePermit,
}

impl Kept {
    pub(crate) fn new(server: PgConnectOptions) -> Self {
        let (turns, idle) = (Arc::new(Semaphore::new(MOST)), Mutex::default());
        Self { shared: Arc::new(Shared { server, turns, idle }) }
    }

    async fn lend(&self) -> Result<Lent<'_>, DbErr> {
        let home = &*self.shared;
        let turn = timeout(PATIENCE, Arc::clone(&home.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))?;
        let _turn = turn.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
        let idle = home.idle().pop();
        if let Some(Idle { mut connection, opened, used }) = idle
            && opened.elapsed() < LIFETIME
            && (used.elapsed() < FRESH || is_well(&mut connection).await)
        {
            return Ok(Lent { connection, opened, home, _turn });
        }
        // Older ones have rested for longer.
        home.idle().clear();
        let opening = timeout(PATIENCE, home.server.connect()).await;
        let connection = opening.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let connection = connection.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?;
        Ok(Lent { connection, opened: Instant::now(), home, _turn })
    }

    pub(crate) async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut lent = self.lend().await?;
        let done = lent.connection.execute(query(statement)).await;
        lent.give_back(done).map(ExecResult::from).map_err(DbErr::Exec)
    }

    pub(crate) async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut lent = self.lend().await?;
        let done = lent.connection.execute(AssertSqlSafe(sql.to_owned())).await;
        lent.give_back(done).map(ExecResult::from).map_err(DbErr::Exec)
    }

    pub(crate) async fn query_one(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut lent = self.lend().await?;
        let row = lent.connection.fetch_optional(query(statement)).await;
        Ok(lent.give_back(row).map_err(DbErr::Query)?.map(QueryResult::from))
    }

    pub(crate) async fn query_all(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut lent = self.lend().await?;
        let rows = lent.connection.fetch_all(query(statement)).await;
        Ok(lent.give_back(rows).map_err(DbErr::Query)?.into_iter().map(QueryResult::from).collect())
    }

    /// Closes every connection once it is not in use.
    pub(crate) async fn close(&self) {
        self.shared.turns.close();
        let idle = std::mem::take(&mut *self.shared.idle());
        for Idle { connection, .. } in idle {
            let _gone_already = connection.close().await;
        }
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // Nothing panics in between.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    /// Gives the connection back after a statement with this outcome, unless it is of no further use.
    fn give_back<T>(self, outcome: Result<T, sqlx::Error>) -> Result<T, RuntimeErr> {
        let Self { connection, opened, home, .. } = self;
        let keep = match &outcome {
            Ok(_) => true,
            Err(sqlx::Error::Database(refusal)) => concerns_the_statement(refusal.code().as_deref()),
            Err(_) => {
                // What has befallen this one has befallen the others.
                home.idle().clear();
                false
            }
        };
        if keep && !home.turns.is_closed() {
            home.idle().push(Idle { connection, opened, used: Instant::now() });
        }
        outcome.map_err(|error| RuntimeErr::SqlxError(error.into()))
    }
}

/// Whether the server has refused the data of a statement, or others were in its way: the connection and its plans are well then
/// (PostgreSQL, appendix A, by class).
fn concerns_the_statement(code: Option<&str>) -> bool {
    code.is_some_and(|code| ["22", "23", "40", "55"].iter().any(|class| code.starts_with(class)))
}

async fn is_well(connection: &mut PgConnection) -> bool {
    matches!(timeout(PATIENCE, connection.ping()).await, Ok(Ok(())))
}

fn query(statement: Statement) -> sqlx::query::Query<'static, sqlx::Postgres, SqlxValues> {
    let values = statement.values.unwrap_or(Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
