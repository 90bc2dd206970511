//! The schema: migrations that run at start, under a lock, written once for both databases.
//!
//! What is there is looked at first, so that a process whose schema is up to date needs no right to create anything.

mod locks;
mod statements;
mod append_only;

use std::{collections::BTreeSet, time::Duration};

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::{
    MigrationName, MigrationTrait, MigratorTrait, SchemaManager, async_trait::async_trait,
};
use tokio::time::{Instant, sleep};

pub use self::{
    append_only::{AppendOnly, NeverReplaced},
    statements::Statements,
};
use crate::{database::Database, failpoint, failure::Failure};

/// How long an attempt waits for a lock. Everybody who needs the same table meanwhile waits behind it, so it is short.
const LOCK_TIMEOUT: &str = "2s";
/// Between two attempts: those who waited behind the last one go first.
const PAUSE: Duration = Duration::from_millis(500);
/// What a migration needs of its session where that keeps nothing: sea-orm names the statements that it prepares, and an earlier attempt may
/// have used the names in the same process of the server.
const AS_A_SESSION: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; DEALLOCATE ALL";

/// The schema is not as this version needs it.
#[derive(Debug, thiserror::Error)]
pub enum CannotMigrate {
    /// It is another service's.
    #[error("this database belongs to {0}: each service needs a database or a schema of its own")]
    Foreign(String),
    /// It is another service's, of a version that did not leave its name.
    #[error("this database belongs to another service: it has the migrations {0}, and not those of this one")]
    Unknown(String),
    /// Others held what it needs for too long.
    #[error("gave up after {} s of waiting for locks that others hold ({holders})", waited.as_secs())]
    Locked {
        /// How long it waited.
        waited: Duration,
        /// Who has them.
        holders: String,
        /// What an attempt ended with.
        source: Failure,
    },
    /// It failed, and nothing of it stays.
    #[error("the schema cannot be brought up to date")]
    Failed(#[from] Failure),
}

impl From<DbErr> for CannotMigrate {
    fn from(error: DbErr) -> Self {
        Self::Failed(error.into())
    }
}

/// The migration that changes nothing and is recorded as `belongs_to_SERVICE`: whose database it is.
#[derive(Debug)]
pub struct Owner(String);

const BELONGS_TO: &str = "belongs_to_";

impl Owner {
    /// For the migrations of `service`.
    #[must_use]
    pub fn new(service: &str) -> Self {
        Self(format!("{BELONGS_TO}{service}"))
    }
}

impl MigrationName for Owner {
    fn name(&self) -> &str {
        &self.0
    }
}

#[async_trait]
impl MigrationTrait for Owner {
    async fn up(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

impl Database {
    /// Brings the schema up to date. Of several processes that start at once one does it, and the others wait for it, as for any lock
    /// that others hold, until [`crate::Limits::migration_wait`] has passed. Migrations of a later version are passed over.
    ///
    /// # Errors
    /// When the database is another service's, when locks were not to be had, or when a migration fails.
    pub async fn migrate<M: MigratorTrait>(&self) -> Result<(), CannotMigrate> {
        let plan = Plan::of::<M>(&applied(self.read()).await?)?;
        if !plan.later.is_empty() {
            let later = plan.later.join(", ");
            tracing::warn!(
                later,
                "a newer version has migrated this database: going on with what is known of it"
            );
        }
        if plan.pending.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            let failure = match self.migrate_once::<M>().await {
                Err(CannotMigrate::Failed(failure @ Failure::Contention(_))) => failure,
                outcome => return outcome,
            };
            let (waited, holders) = (begun.elapsed(), locks::holders(self).await);
            if waited >= self.migration_wait() {
                return Err(CannotMigrate::Locked { waited, holders, source: failure });
            }
            let (waited_s, error) = (waited.as_secs(), cause(&failure));
            tracing::warn!(
                waited_s,
                holders,
                error,
                "a migration waits for a lock that others hold: trying again"
            );
            sleep(PAUSE).await;
        }
    }

    async fn migrate_once<M: MigratorTrait>(&self) -> Result<(), CannotMigrate> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let session = self.session().await?;
        let migrated = async {
            let transaction = session.begin_with_options(options).await?;
            if self.needs_transactions() {
                transaction.execute_unprepared(AS_A_SESSION).await?;
            }
            up::<M>(&transaction).await?;
            failpoint::at("migration.before_commit");
            transaction.commit().await?;
            failpoint::at("migration.after_commit");
            Ok(())
        };
        let outcome = migrated.await;
        // With whatever was left open in it.
        let _closed_already = session.close().await;
        outcome
    }
}

/// What an error is caused by, in a line.
fn cause(failure: &Failure) -> String {
    std::error::Error::source(failure).map_or_else(|| failure.to_string(), ToString::to_string)
}

/// What is to be done for the migrations of `M`.
struct Plan {
    pending: Vec<Box<dyn MigrationTrait>>,
    /// Applied by a version that comes after this one.
    later: Vec<String>,
}

impl Plan {
    fn of<M: MigratorTrait>(applied: &BTreeSet<String>) -> Result<Self, CannotMigrate> {
        let all = M::migrations();
        let known: BTreeSet<&str> = all.iter().map(|migration| migration.name()).collect();
        let ours = owner(known.iter().copied());
        let theirs = owner(applied.iter().map(String::as_str));
        let later: Vec<String> =
            applied.iter().filter(|name| !known.contains(name.as_str())).cloned().collect();
        if let (Some(ours), Some(theirs)) = (&ours, &theirs)
            && ours != theirs
        {
            return Err(CannotMigrate::Foreign(theirs.clone()));
        }
        let pending: Vec<_> =
            all.into_iter().filter(|migration| !applied.contains(migration.name())).collect();
        // Versions before that of the owner knew every migration of their database.
        if theirs.is_none() && !later.is_empty() && !pending.is_empty() {
            return Err(CannotMigrate::Unknown(later.join(", ")));
        }
        Ok(Self { pending, later })
    }
}

fn owner<'n>(mut names: impl Iterator<Item = &'n str>) -> Option<String> {
    names.find_map(|name| name.strip_prefix(BELONGS_TO)).map(str::to_owned)
}

/// The names of the migrations that were applied; none when the table of them is not there.
async fn applied(connection: &impl ConnectionTrait) -> Result<BTreeSet<String>, DbErr> {
    let backend = connection.get_database_backend();
    let table = match backend {
        DbBackend::Postgres => "SELECT 1 WHERE to_regclass('seaql_migrations') IS NOT NULL",
        _ => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'",
    };
    if connection.query_one_raw(Statement::from_string(backend, table)).await?.is_none() {
        return Ok(BTreeSet::new());
    }
    let names = Statement::from_string(backend, "SELECT version FROM seaql_migrations");
    connection.query_all_raw(names).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}

async fn up<M: MigratorTrait>(transaction: &DatabaseTransaction) -> Result<(), CannotMigrate> {
    let backend = transaction.get_database_backend();
    if backend == DbBackend::Postgres {
        // SQLite's immediate transaction is the lock already. A migration takes the time that it takes: what a role's settings say is
        // meant for requests. (transaction_timeout is known to PostgreSQL 17 and later.)
        let unbounded = "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN \
                         ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')";
        transaction.execute_unprepared(unbounded).await?;
        transaction.execute_unprepared(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")).await?;
        transaction
            .execute_unprepared(&format!("SELECT pg_advisory_xact_lock({})", locks::MIGRATIONS))
            .await?;
    }
    // Somebody else may have done it while this one waited.
    let before = applied(transaction).await?;
    if before.is_empty() {
        M::install(transaction).await?;
    }
    let now = match backend {
        DbBackend::Postgres => "CAST(extract(epoch FROM now()) AS BIGINT)",
        _ => "unixepoch()",
    };
    let manager = SchemaManager::new(transaction);
    for migration in Plan::of::<M>(&before)?.pending {
        migration.up(&manager).await?;
        failpoint::at("migration.half_done");
        let record = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ($1, {now})");
        let record = Statement::from_sql_and_values(backend, record, [migration.name().into()]);
        transaction.execute_raw(record).await?;
        tracing::info!(migration = migration.name(), "migrated");
    }
    Ok(())
}
