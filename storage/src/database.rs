//! The connections to one database, with the settings on which durability rests.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, RuntimeErr, SqlxPostgresConnector,
    SqlxSqliteConnector,
    sqlx::{
        ConnectOptions as _,
        postgres::PgConnectOptions,
        sqlite::{SqliteConnectOptions, SqlitePoolOptions},
    },
};

use crate::{
    connection::{PATIENCE, Server},
    connections::{Connections, Usage},
    executor::Executor,
    limits::Limits,
    observe,
    opened::{self, CannotOpen, Cause},
    probe::Probe,
    session::{PREPARED, Sessions, Setting},
    url::{DatabaseUrl, PostgresUrl, SqliteFile},
};

/// Connections for single statements, of each kind: hardly anything in a process makes more of them at a time.
const SINGLES: u32 = 4;
/// Members of failed groups that are tried alone at a time, at first and again.
pub(crate) const ALONE: usize = 4;
pub(crate) const AGAIN: usize = 2;
/// Connections of groups and of consumers, hardly more than two of which are in use unless somebody holds rows.
const GROUPS: u32 = 8;
/// How long a group waits for a lock: all of its members wait with it. Longer than transactions of ours hold one, on a slow disk too.
const GROUP_WAIT: Setting = ("lock_timeout", "100ms");
/// The statements that write, and those of a relay, are few, made thousands of times a second, and served by indexes whatever the values
/// and the size of the tables: they are planned once, and not by what the server last knew of a table that fills and empties.
const PLANNED_ONCE: [Setting; 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("enable_mergejoin", "off")];
/// Connections that read whole tables.
const REPORTS: u32 = 2;
/// How long a statement may take that reads whole tables: a ledger of a hundred million entries is summed in some minutes.
const REPORT_TIMEOUT: Duration = Duration::from_secs(600);
/// A backend finds out within a second that nobody waits for its answer any more, and does not go on reading.
const ABANDONED: Setting = ("client_connection_check_interval", "1s");

/// One database: connections for transactions, for single statements, and for what only reads. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Database {
    write: Connections,
    singles: Option<Singles>,
    read: Connections,
    reports: Connections,
    /// Without the settings that are only for what reads or writes.
    server: Server,
    limits: Limits,
    pub(crate) probe: Arc<Mutex<Option<Probe>>>,
}

/// PostgreSQL: connections for single statements, and for groups of writes.
#[derive(Debug, Clone)]
struct Singles {
    durable: Connections,
    unflushed: Connections,
    groups: Connections,
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
        let opened = opened.map_err(|cause| CannotOpen::new(url.to_string(), cause))?;
        observe::begin(opened.backend());
        Ok(opened)
    }

    /// For reading outside of transactions. SQLite: these connections cannot write.
    #[must_use]
    pub fn read(&self) -> &Connections {
        &self.read
    }

    /// For statements that read whole tables or clean them up, which may take ten minutes each. SQLite: these connections cannot write.
    #[must_use]
    pub fn reports(&self) -> &Connections {
        &self.reports
    }

    /// For transactions; see [`crate::transact`]. SQLite: the only connection that writes.
    pub(crate) fn write(&self) -> &Connections {
        &self.write
    }

    /// For statements that are transactions by themselves; see [`Database::execute`]. SQLite: the connection that writes.
    pub(crate) fn single(&self) -> &Connections {
        self.singles.as_ref().map_or(&self.write, |singles| &singles.durable)
    }

    /// For groups of writes, which wait for locks only briefly. SQLite: the connection that writes.
    pub(crate) fn groups(&self) -> &Connections {
        self.singles.as_ref().map_or(&self.write, |singles| &singles.groups)
    }

    /// For statements outside of transactions that wait for no flush on PostgreSQL: a crash of the server may undo them, so they are for
    /// what is simply done again then. SQLite: the connections that read.
    #[must_use]
    pub fn unflushed(&self) -> Executor<'_> {
        Executor::Connections(self.singles.as_ref().map_or(&self.read, |singles| &singles.unflushed))
    }

    /// The same with the connections of groups, which wait for a lock 0.1 s and not 5.
    #[must_use]
    pub fn with_brief_waits(&self) -> Self {
        let Some(singles) = &self.singles else { return self.clone() };
        let brief = singles.groups.clone();
        let singles = Some(Singles { durable: brief.clone(), ..singles.clone() });
        Self { write: brief, singles, ..self.clone() }
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

    /// How long an attempt at a statement or a transaction may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.limits.statement_timeout
    }

    /// Whether it is a file of this process, not a server that several share.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.backend() == DbBackend::Sqlite
    }

    /// A session for migrations, which need sea-orm's own kind. It is used once and closed.
    pub(crate) async fn session(&self) -> Result<DatabaseConnection, DbErr> {
        let opened = match &self.server {
            Server::Postgres(sessions) => {
                let (one, options) = sessions.pool();
                let pool = one.acquire_timeout(PATIENCE).connect_with(options).await;
                pool.map(SqlxPostgresConnector::from_sqlx_postgres_pool)
            }
            Server::Sqlite(file) => {
                let one = SqlitePoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
                let pool = one.connect_with((**file).clone()).await;
                pool.map(SqlxSqliteConnector::from_sqlx_sqlite_pool)
            }
        };
        opened.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))
    }

    /// How a session begins that listens. `None`: SQLite, or sessions keep nothing.
    pub(crate) fn sessions(&self) -> Option<&Sessions> {
        match &self.server {
            Server::Postgres(sessions) => sessions.keep_anything().then_some(sessions),
            Server::Sqlite(_) => None,
        }
    }

    /// Whether sessions keep nothing from one transaction to the next.
    pub(crate) const fn needs_transactions(&self) -> bool {
        self.server.needs_transactions()
    }

    /// The connections of each kind, and what they are for; those that write come last.
    pub(crate) fn kinds(&self) -> Vec<(&'static str, &Connections)> {
        let singles = self.singles.iter().flat_map(|Singles { durable, unflushed, groups }| {
            [("single", durable), ("unflushed", unflushed), ("group", groups)]
        });
        singles.chain([("report", &self.reports), ("read", &self.read), ("write", &self.write)]).collect()
    }

    /// Who says how the connections of each kind are used; of none any more once the database is gone.
    pub fn usage(&self) -> impl Fn() -> Vec<(&'static str, Usage)> + Send + use<> {
        let kinds: Vec<_> =
            self.kinds().into_iter().map(|(kind, connections)| (kind, connections.usage())).collect();
        move || kinds.iter().filter_map(|(kind, usage)| Some((*kind, usage()?))).collect()
    }

    /// Closes every connection once it is not in use.
    pub async fn close(self) {
        for (_, connections) in self.kinds() {
            connections.close().await;
        }
    }
}

async fn postgres(url: &PostgresUrl, limits: Limits) -> Result<Database, Cause> {
    let server: PgConnectOptions = url.expose().parse()?;
    let server = server.disable_statement_logging();
    // An acknowledged write survives the server's crash, whatever its configuration says.
    let durable = [&PLANNED_ONCE[..], &[("synchronous_commit", "on")]].concat();
    // Rows that hold back others are rare, which no statistics say: they are looked for one by one.
    let not_flushed =
        [&PLANNED_ONCE[..], &[("synchronous_commit", "off"), ("enable_hashjoin", "off")]].concat();
    let prepared = limits.prepared_statements;
    let between = opened::server(&server, prepared, [&durable, &not_flushed, &[ABANDONED]]).await?;
    let within = |timeout: Duration, settings: &[Setting], most| {
        // Somewhat earlier than this side gives up: the server's word is better than none.
        let server_timeout = format!("{}ms", timeout.as_millis() * 9 / 10);
        let mut settings: Vec<(&str, &str)> = settings.to_vec();
        settings.push(("statement_timeout", server_timeout.as_str()));
        let sessions = Sessions::new(&server, between, &settings);
        Connections::new(Server::Postgres(Box::new(sessions)), most, timeout)
    };
    let connections = |settings: &[Setting], most| within(limits.statement_timeout, settings, most);
    Ok(Database {
        write: connections(&durable, limits.connections),
        singles: Some(Singles {
            durable: connections(&durable, SINGLES),
            unflushed: connections(&not_flushed, SINGLES),
            groups: connections(&[&durable[..], &[GROUP_WAIT]].concat(), GROUPS),
        }),
        read: connections(&[ABANDONED], limits.connections),
        reports: within(REPORT_TIMEOUT, &[ABANDONED], REPORTS),
        server: Server::Postgres(Box::new(Sessions::new(&server, between, &[]))),
        limits,
        probe: Arc::default(),
    })
}

async fn sqlite(file: &SqliteFile, limits: Limits) -> Result<Database, Cause> {
    opened::file(file)?;
    let options = || {
        SqliteConnectOptions::new()
            // Named apart from a URL, in which some characters of a path would mean something else.
            .filename(&file.path)
            .busy_timeout(PATIENCE)
            .statement_cache_capacity(PREPARED)
            .disable_statement_logging()
    };
    let writer = options()
        .create_if_missing(file.create)
        .pragma("journal_mode", "WAL")
        // FULL makes every commit durable; NORMAL, usual with WAL, would lose the last ones when the machine fails.
        .pragma("synchronous", "FULL")
        .foreign_keys(true);
    let writer = Server::Sqlite(Box::new(writer));
    let reader = Server::Sqlite(Box::new(options().pragma("query_only", "on")));
    let database = Database {
        write: Connections::new(writer.clone(), 1, limits.statement_timeout),
        singles: None,
        read: Connections::new(reader.clone(), limits.connections, limits.statement_timeout),
        reports: Connections::new(reader, REPORTS, REPORT_TIMEOUT),
        server: writer,
        limits,
        probe: Arc::default(),
    };
    // The writer comes first: it makes the file, and the readers of a WAL database need it.
    database.write.open().await?;
    database.read.open().await?;
    Ok(database)
}
