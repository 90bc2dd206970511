//! The connections to one database, with the settings on which durability rests.

use std::time::Duration;

use sea_orm::{
    ConnectOptions, Database as Connector, DatabaseConnection, DbBackend, DbErr, RuntimeErr,
    sqlx::{ConnectOptions as _, postgres::PgConnectOptions},
};
use tokio::time::{Instant, sleep};

use crate::{
    executor::Executor,
    failure::Failure,
    kept::Kept,
    opened::{self, CannotOpen, Cause},
    url::{DatabaseUrl, PostgresUrl, SqliteFile},
};

/// How long a statement waits for a lock or a connection before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to open a SQLite file that is locked.
const PAUSE: Duration = Duration::from_millis(5);
/// A connection that was idle for longer is asked first whether it is still there. Asking each time would be a round trip more for
/// every transaction and every read.
pub(crate) const FRESH: Duration = Duration::from_secs(1);
/// The statements that write, and those of a relay, are few, made thousands of times a second, and served by indexes whatever the values
/// and the size of the tables: they are planned once, and not by what the server last knew of a table that fills and empties.
const PLANNED_ONCE: [Setting; 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("enable_mergejoin", "off")];
/// Prepared statements kept per connection. On SQLite batches of every size are statements of their own.
const PREPARED: usize = 512;

/// How much of the server a process may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections that read. PostgreSQL: as many for transactions, and a few for single statements. SQLite: a single one writes.
    pub connections: u32,
    /// Writes or messages that are taken together, at most: below the bound that each part has of its own. At least 1.
    pub max_batch: usize,
    /// How long migrations wait for locks that others hold.
    pub migration_wait: Duration,
}

impl Limits {
    /// Two of the reading connections are for who waits for notices; with fewer than these, little else could be read.
    pub const FEWEST_CONNECTIONS: u32 = 4;
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 8, max_batch: usize::MAX, migration_wait: Duration::from_secs(60) }
    }
}

/// One database: connections for transactions, for single statements, and for what only reads. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Database {
    write: DatabaseConnection,
    kept: Option<Singles>,
    read: DatabaseConnection,
    limits: Limits,
}

/// PostgreSQL: connections for single statements.
#[derive(Debug, Clone)]
struct Singles {
    durable: Kept,
    unflushed: Kept,
}

impl Database {
    /// Connects. A SQLite file is made when it is missing; its folder must exist.
    ///
    /// # Errors
    /// When the server cannot be reached or a session with it does not keep its settings, or the file cannot be opened.
    pub async fn connect(url: &DatabaseUrl, limits: Limits) -> Result<Self, CannotOpen> {
        let opened = match url {
            DatabaseUrl::Postgres(url) => postgres(url, limits).await,
            DatabaseUrl::Sqlite(file) => sqlite(file, limits).await,
        };
        opened.map_err(|cause| CannotOpen::new(url.to_string(), cause))
    }

    /// For reading outside of transactions. SQLite: these connections cannot write.
    #[must_use]
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// For transactions; see [`crate::transact`]. SQLite: the only connection that writes.
    pub(crate) fn write(&self) -> &DatabaseConnection {
        &self.write
    }

    /// For statements that are transactions by themselves; see [`Database::execute`]. SQLite: the connection that writes.
    pub(crate) fn single(&self) -> Executor<'_> {
        self.kept.as_ref().map_or(Executor::Pool(&self.write), |kept| Executor::Kept(&kept.durable))
    }

    /// For statements outside of transactions that wait for no flush on PostgreSQL: a crash of the server may undo them, so they are for
    /// what is simply done again then. SQLite: the connections that read.
    #[must_use]
    pub fn unflushed(&self) -> Executor<'_> {
        self.kept.as_ref().map_or(Executor::Pool(&self.read), |kept| Executor::Kept(&kept.unflushed))
    }

    /// The kind of database.
    #[must_use]
    pub fn backend(&self) -> DbBackend {
        self.write.get_database_backend()
    }

    /// How many writes or messages a part that would take `bound` of them together may take.
    #[must_use]
    pub fn batch(&self, bound: usize) -> usize {
        bound.min(self.limits.max_batch).max(1)
    }

    pub(crate) const fn migration_wait(&self) -> Duration {
        self.limits.migration_wait
    }

    /// Whether it is a file of this process, not a server that several share.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.backend() == DbBackend::Sqlite
    }

    /// Whether the database answers: what readiness asks.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Failure> {
        self.read.ping().await.map_err(Failure::from)
    }

    /// Closes every connection once it is not in use.
    pub async fn close(self) {
        if let Some(Singles { durable, unflushed }) = self.kept {
            durable.close().await;
            unflushed.close().await;
        }
        let _closed_already = self.read.close().await;
        let _closed_already = self.write.close().await;
    }
}

async fn postgres(url: &PostgresUrl, limits: Limits) -> Result<Database, Cause> {
    let pool = async |settings: Vec<Setting>| {
        let mut options = options(url.expose().to_owned(), limits.connections);
        options.map_sqlx_postgres_opts(move |server| with(server, &settings));
        Connector::connect(options).await
    };
    let server: PgConnectOptions = url.expose().parse()?;
    let server = server.disable_statement_logging();
    // An acknowledged write survives the server's crash, whatever its configuration says.
    let durable = [&PLANNED_ONCE[..], &[("synchronous_commit", "on")]].concat();
    // Rows that hold back others are rare, which no statistics say: they are looked for one by one.
    let not_flushed =
        [&PLANNED_ONCE[..], &[("synchronous_commit", "off"), ("enable_hashjoin", "off")]].concat();
    opened::server(&server, [&durable, &not_flushed, &[]]).await?;
    let kept = Singles {
        durable: Kept::new(with(server.clone(), &durable)),
        unflushed: Kept::new(with(server, &not_flushed)),
    };
    Ok(Database { kept: Some(kept), write: pool(durable).await?, read: pool(Vec::new()).await?, limits })
}

/// Of a session with PostgreSQL.
pub(crate) type Setting = (&'static str, &'static str);

/// Those of every session.
pub(crate) const COMMON: [Setting; 3] = [
    ("lock_timeout", "5s"),
    // A transaction whose process hangs must not hold its locks for ever.
    ("idle_in_transaction_session_timeout", "30s"),
    // The conditional writes rest on it: a stricter level would fail them where they should meet what another one committed.
    ("default_transaction_isolation", "read committed"),
];

/// A session with these settings and the [`COMMON`] ones.
pub(crate) fn with(server: PgConnectOptions, settings: &[Setting]) -> PgConnectOptions {
    server
        .application_name("ordermesh")
        .statement_cache_capacity(PREPARED)
        .options(COMMON.iter().chain(settings).copied())
}

async fn sqlite(file: &SqliteFile, limits: Limits) -> Result<Database, Cause> {
    opened::file(file)?;
    let create = file.create;
    // The writer comes first: it makes the file, and the readers of a WAL database need it. The file is named apart from the
    // URL, in which some characters of a path would mean something else.
    let (named, of_readers) = (file.path.clone(), file.path.clone());
    let mut writer = options("sqlite://file".to_owned(), 1);
    writer.map_sqlx_sqlite_opts(move |file| {
        file.filename(&named)
            .create_if_missing(create)
            .pragma("journal_mode", "WAL")
            // FULL makes every commit durable; NORMAL, usual with WAL, would lose the last ones when the machine fails.
            .pragma("synchronous", "FULL")
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .statement_cache_capacity(PREPARED)
    });
    let write = open(writer).await?;
    let mut readers = options("sqlite://file".to_owned(), limits.connections);
    readers.map_sqlx_sqlite_opts(move |file| {
        file.filename(&of_readers)
            .pragma("query_only", "on")
            .busy_timeout(PATIENCE)
            .statement_cache_capacity(PREPARED)
    });
    let read = open(readers).await?;
    Ok(Database { write, kept: None, read, limits })
}

/// Opens a SQLite file. While another process turns a new file to WAL, or closes it as the last one, SQLite refuses at once
/// and does not wait as `busy_timeout` says (two that wait for each other would wait in vain): it is asked again.
async fn open(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Connector::connect(options.clone()).await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}

/// Whether the cause is `SQLITE_BUSY`, the low byte of the code.
fn is_busy(error: &DbErr) -> bool {
    let DbErr::Conn(RuntimeErr::SqlxError(cause)) = error else { return false };
    let code = cause.as_database_error().and_then(|refusal| refusal.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

fn options(url: String, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .test_before_acquire_if_idle_for(FRESH)
        .sqlx_logging(false);
    options
}
