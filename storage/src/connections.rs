//! Connections to one database, each of them used again only when it is known to be well.
//!
//! Who takes one has to give it back: one that is not given back is closed, so that a statement that was given up, a failed COMMIT or
//! ROLLBACK, or a panic can leave nothing behind for the next. Each has a deadline for what is done with it.
//!
//! sqlx's pool does otherwise: it asks each connection that is given back whether it is well, which is a round trip more for every
//! statement; waits without end for one that is silent, which holds its permit; counts the depth of transactions itself, wrongly after a
//! COMMIT that has failed; and connects again and again to a server that refuses. Here the connection that was used last is used next
//! (the server's process is a warm one), and is probed only after a rest.

mod single;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sea_orm::{ConnAcquireErr, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, sqlx};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    connection::{Connection, PATIENCE, Server, within},
    failure::{ends_the_session, primary},
    observe,
};

/// Who has waited for a connection for longer waits for as much less for a lock: without that those who wait for the one writer of SQLite,
/// while another process holds its lock, would wait for it one after the other.
const SHORT: Duration = Duration::from_millis(100);
/// A connection that was idle for longer is probed first. Probing each time would be a round trip more for
/// every transaction and every read.
const FRESH: Duration = Duration::from_secs(1);
/// A connection ends with what the server has gathered for it.
const LIFETIME: Duration = Duration::from_secs(1_800);

/// Connections to one database, opened when they are needed. As a [`ConnectionTrait`] each statement is a transaction of its own.
/// Cloning shares them.
#[derive(Clone)]
pub struct Connections {
    shared: Arc<Shared>,
    /// From when on they are waited for, if that has begun before they are asked for.
    since: Option<Instant>,
}

struct Shared {
    server: Server,
    most: u32,
    permits: Arc<Semaphore>,
    /// The one that was used last on top.
    idle: Mutex<Vec<Idle>>,
    /// For a statement or a transaction, from the moment on when it is to have a connection.
    timeout: Duration,
    /// Whether the last one that was to be opened was not.
    refused: AtomicBool,
}

struct Idle {
    connection: Connection,
    opened: Instant,
    used: Instant,
}

/// A connection in use. One that is not given back is closed.
pub(crate) struct Checkout {
    // Dropped in this order: who waits for the permit finds the connection gone.
    connection: Connection,
    opened: Instant,
    until: Instant,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

/// How the connections of one kind are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Connections in use, or about to be.
    pub used: usize,
    /// Connections that are open and not in use.
    pub idle: usize,
    /// Connections at most.
    pub most: usize,
}

impl Connections {
    /// At most `most` connections at a time; each may be used for `timeout` before it is given back.
    pub(crate) fn new(server: Server, most: u32, timeout: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(most as usize));
        Self {
            shared: Arc::new(Shared {
                server,
                most,
                permits,
                idle: Mutex::default(),
                timeout,
                refused: AtomicBool::new(false),
            }),
            since: None,
        }
    }

    /// The same, for who has waited since then for whatever it wants one for.
    pub(crate) fn waited_for_since(&self, begun: Instant) -> Self {
        Self { since: Some(self.since.map_or(begun, |since| since.min(begun))), ..self.clone() }
    }

    /// Opens the first one, so that what is wrong with the settings shows.
    pub(crate) async fn open(&self) -> Result<(), DbErr> {
        self.checkout().await?.give_back();
        Ok(())
    }

    /// Tries again what failed last, if it did: to open one more.
    pub(crate) async fn can_be_had(&self) -> Result<(), DbErr> {
        if self.shared.refused.load(Relaxed) { self.open().await } else { Ok(()) }
    }

    /// Waits for its turn for 5 s at most, and for what locks the file of SQLite for what is left of 5 s since its wait began.
    pub(crate) async fn checkout(&self) -> Result<Checkout, DbErr> {
        let shared = &self.shared;
        let (now, wait) = (Instant::now(), shared.timeout.min(PATIENCE));
        let begun = self.since.unwrap_or(now);
        // From now on: a member of a group that failed may have waited long for the others, where there is no lock.
        let permit = timeout_at(now + wait, Arc::clone(&shared.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| {
            observe::no_connection(shared.server.backend());
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)
        })?;
        let permit = permit.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
        let waited = begun.elapsed();
        let mut checkout = self.open_with(permit).await?;
        let left = if waited < SHORT { PATIENCE } else { wait.saturating_sub(waited) };
        // In whole milliseconds, and not a part of one less: who has waited long enough is not to try again.
        let left = Duration::from_millis(u64::try_from(left.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX));
        match checkout.connection.wait_for_locks(left).await {
            Ok(()) => Ok(checkout),
            Err(error) => {
                checkout.close_after(&error);
                Err(DbErr::Conn(RuntimeErr::SqlxError(error.into())))
            }
        }
    }

    /// The connection that was used last, if it is well, or a new one.
    async fn open_with(&self, permit: OwnedSemaphorePermit) -> Result<Checkout, DbErr> {
        let shared = &self.shared;
        let idle = shared.idle().pop();
        if let Some(Idle { mut connection, opened, used }) = idle
            && opened.elapsed() < LIFETIME
        {
            if used.elapsed() < FRESH || connection.is_well().await {
                return Ok(Checkout::new(connection, opened, shared, permit));
            }
            // The others have rested for longer.
            shared.idle().clear();
        }
        shared.idle().retain(|idle| idle.opened.elapsed() < LIFETIME);
        let patience = Instant::now() + shared.timeout.min(PATIENCE);
        let connection = shared.server.connect(patience).await;
        shared.refused.store(connection.is_err(), Relaxed);
        let connection = connection.map_err(|error| {
            observe::failed(shared.server.backend(), &error);
            DbErr::Conn(RuntimeErr::SqlxError(error.into()))
        })?;
        Ok(Checkout::new(connection, Instant::now(), shared, permit))
    }

    /// Who says how many are in use, as long as there are any.
    pub(crate) fn usage(&self) -> impl Fn() -> Option<Usage> + Send + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || {
            let shared = shared.upgrade()?;
            let used = (shared.most as usize).saturating_sub(shared.permits.available_permits());
            let idle = shared.idle().len();
            Some(Usage { used, idle, most: shared.most as usize })
        }
    }

    /// Closes every connection once it is not in use.
    pub(crate) async fn close(&self) {
        let shared = &self.shared;
        // Whoever has one has a deadline. Who comes later waits behind this, and is turned away.
        let _all = timeout(shared.timeout, shared.permits.acquire_many(shared.most)).await;
        shared.permits.close();
        let idle = std::mem::take(&mut *shared.idle());
        for Idle { connection, .. } in idle {
            connection.close().await;
        }
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // Nothing panics in between.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checkout {
    /// Its time begins now: the server counts that of a statement from its beginning, too.
    fn new(
        connection: Connection,
        opened: Instant,
        shared: &Arc<Shared>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let until = Instant::now() + shared.timeout;
        Self { connection, opened, until, shared: Arc::clone(shared), _permit: permit }
    }

    pub(crate) fn backend(&self) -> DbBackend {
        self.shared.server.backend()
    }

    /// Begins a transaction in it.
    pub(crate) async fn send_begin(&mut self) -> Result<(), sqlx::Error> {
        let begin = self.shared.server.begin_transaction();
        let begun = within(self.until, self.connection.execute_unprepared(begin)).await;
        self.counted(begun).map(drop)
    }

    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, sqlx::Error> {
        let done = within(self.until, self.connection.execute(statement)).await;
        self.counted(done)
    }

    pub(crate) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, sqlx::Error> {
        let done = within(self.until, self.connection.execute_unprepared(sql)).await;
        self.counted(done)
    }

    pub(crate) async fn query_one(
        &mut self,
        statement: Statement,
    ) -> Result<Option<QueryResult>, sqlx::Error> {
        let row = within(self.until, self.connection.query_one(statement)).await;
        self.counted(row)
    }

    pub(crate) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, sqlx::Error> {
        let rows = within(self.until, self.connection.query_all(statement)).await;
        self.counted(rows)
    }

    fn counted<T>(&self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        outcome.inspect_err(|error| observe::failed(self.backend(), error))
    }

    /// Gives it back: only outside of a transaction, and with nothing under way.
    pub(crate) fn give_back(self) {
        let Self { connection, opened, shared, .. } = self;
        if !shared.permits.is_closed() {
            shared.idle().push(Idle { connection, opened, used: Instant::now() });
        }
    }

    /// Closes it after this error, and the idle ones too when the same has befallen them.
    pub(crate) fn close_after(self, error: &sqlx::Error) {
        if !matches!(error, sqlx::Error::Database(_)) || ends_the_session(error) {
            self.shared.idle().clear();
        }
    }
}

/// Whether the database has refused the data of a statement, or others were in its way: the connection and its plans are well then.
/// PostgreSQL: appendix A, by class. SQLite: `SQLITE_CONSTRAINT`.
pub(crate) fn concerns_the_statement(error: &sqlx::Error) -> bool {
    let Some(code) = error.as_database_error().and_then(|refusal| refusal.code()) else { return false };
    match code.len() {
        5 => ["22", "23", "40", "55"].iter().any(|class| code.starts_with(class)),
        _ => primary(&code) == Some(19),
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
