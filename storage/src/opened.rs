//! A database is looked at before anything rests on it: it answers, and a session keeps the settings that it was given, at its start or,
//! where a pooler of sessions takes none there, by statements. Where nothing rests on a session, each transaction has its settings.

use std::{error::Error, fs, sync::Arc, time::Duration};

use sea_orm::sqlx::{
    self, AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions,
    raw_sql,
};
use tokio::time::timeout;

use crate::{
    limits::PreparedStatements,
    session::{Between, COMMON, Sessions, Setting},
    url::SqliteFile,
};

/// A file of this name marks its folder as a backup that was not finished. No database is opened there: it would be empty, or of another
/// instant than the one beside it.
pub const INCOMPLETE: &str = "INCOMPLETE";

/// How long a server may take to let a session in. A pool would try one that refuses for as long, and then say only that time is up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A database cannot be opened.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot open the database {url}")]
pub struct CannotOpen {
    url: String,
    source: Arc<dyn Error + Send + Sync>,
}

/// Why a database cannot be opened.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

impl CannotOpen {
    pub(crate) fn new(url: String, cause: Cause) -> Self {
        Self { url, source: cause.into() }
    }
}

/// Whether there can be a file at this place: SQLite itself says only that it cannot open it.
pub(crate) fn file(file: &SqliteFile) -> Result<(), Cause> {
    let folder = file.path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        let about =
            fs::metadata(folder).map_err(|error| format!("the folder {}: {error}", folder.display()))?;
        if !about.is_dir() {
            return Err(format!("{} is not a folder", folder.display()).into());
        }
    }
    if file.path.with_file_name(INCOMPLETE).exists() {
        return Err("its folder is a backup that was not finished: take another one".into());
    }
    if file.path.is_dir() {
        return Err("it is a folder, not a file".into());
    }
    if !file.create && !file.path.exists() {
        return Err("the file does not exist, and mode=rw does not make it".into());
    }
    Ok(())
}

/// What is between sessions with these settings and their server, one set for each kind of connection. A pooler in between may refuse or drop what a session is
/// started with: it is then given by statements, and read back, because an acknowledged write would otherwise rest on settings that are not
/// there.
///
/// # Errors
/// When nobody keeps the settings of a session; or when a pooler gives the next transaction to another process of the server, which has
/// those of somebody else, other prepared statements, and no notifications.
pub(crate) async fn server(
    server: &PgConnectOptions,
    prepared: PreparedStatements,
    kinds: [&[Setting]; 3],
) -> Result<Between, Cause> {
    if prepared == PreparedStatements::Off {
        return by_transaction(server, kinds).await;
    }
    if dropped(server, Between::Nothing, kinds).await?.is_none() {
        return Ok(Between::Nothing);
    }
    if !in_time(keep_their_processes(&Sessions::plain(server))).await? {
        return Err("a pooler in between gives each transaction another session of the server (PgBouncer with pool_mode = transaction): \
             the settings on which durability rests, prepared statements and LISTEN belong to one; start with --prepared-statements off, \
             or connect to the server itself, or to a pooler of sessions (pool_mode = session)"
            .into());
    }
    if let Some(setting) = dropped(server, Between::Pooler, kinds).await? {
        return Err(format!(
            "{setting}: a pooler in between drops the settings of a session, on which durability rests; connect to the server itself"
        )
        .into());
    }
    tracing::info!(
        "a pooler in between takes no settings of a session at its start: each is given them by statements"
    );
    Ok(Between::Pooler)
}

/// The same where nothing is to rest on a session.
async fn by_transaction(server: &PgConnectOptions, kinds: [&[Setting]; 3]) -> Result<Between, Cause> {
    if server.get_options().is_some() {
        // A pooler refuses them, or drops them in silence: a schema among them would be another one.
        return Err("`options` (of the URL, or PGOPTIONS) are settings of a session, on which nothing rests with --prepared-statements off: \
             set them for the role (ALTER ROLE ... SET ...)"
            .into());
    }
    if let Some(setting) = dropped(server, Between::Transactions, kinds).await? {
        return Err(format!("{setting}: a transaction has not the settings on which durability rests").into());
    }
    tracing::info!("no statement is prepared for later, and each transaction is given its settings");
    Ok(Between::Transactions)
}

/// The first setting that a session has otherwise than it was to begin with, in words.
async fn dropped(
    server: &PgConnectOptions,
    between: Between,
    kinds: [&[Setting]; 3],
) -> Result<Option<String>, Cause> {
    for settings in kinds {
        let sessions = Sessions::new(server, between, settings);
        let wanted: Vec<(String, String)> =
            COMMON.iter().chain(settings).map(|setting| between.in_a_transaction(*setting)).collect();
        let dropped = in_time(first_dropped(&sessions, &wanted)).await?;
        if dropped.is_some() {
            return Ok(dropped);
        }
    }
    Ok(None)
}

async fn first_dropped(sessions: &Sessions, wanted: &[(String, String)]) -> Result<Option<String>, Cause> {
    let mut connection = match sessions.begin().await {
        Err(error) if takes_no_parameter(&error) => return Ok(Some(error.to_string())),
        begun => begun?,
    };
    if !sessions.keep_anything() {
        let begin = sessions.begin_transaction().to_owned();
        connection.execute(AssertSqlSafe(begin)).await?;
    }
    let shown: Vec<String> = wanted.iter().map(|(name, _)| format!("current_setting('{name}')")).collect();
    // Not prepared: behind a pooler, another session may have the name of the statement.
    let query = format!("SELECT {}", shown.join(", "));
    let row = raw_sql(AssertSqlSafe(query)).fetch_one(&mut connection).await?;
    for (at, (name, value)) in wanted.iter().enumerate() {
        let found: String = row.try_get(at)?;
        if found != *value {
            return Ok(Some(format!("a session that begins with {name} = {value} has {name} = {found}")));
        }
    }
    if !sessions.keep_anything() {
        connection.execute("COMMIT").await?;
    }
    let _gone_already = connection.close().await;
    Ok(None)
}

/// PgBouncer's words for a setting at the start that it knows nothing of.
fn takes_no_parameter(error: &sqlx::Error) -> bool {
    let refusal = error.as_database_error();
    refusal.is_some_and(|refusal| refusal.message().contains("unsupported startup parameter"))
}

/// Whether each session has a process of the server for as long as it lasts. A pooler of transactions gives the one that was free last, or
/// the one that was free first, to whoever begins next: two sessions that begin their transactions in either order get each other's.
async fn keep_their_processes(sessions: &Sessions) -> Result<bool, Cause> {
    let (mut one, mut other) = (sessions.begin().await?, sessions.begin().await?);
    let (process, other_process) = (process_of(&mut one).await?, process_of(&mut other).await?);
    if process == other_process {
        return Ok(false);
    }
    let mut kept = true;
    for one_is_first in [true, true, false, false, true, false] {
        let order = if one_is_first { [&mut one, &mut other] } else { [&mut other, &mut one] };
        for session in order {
            session.execute("BEGIN").await?;
        }
        kept &= process_of(&mut one).await? == process && process_of(&mut other).await? == other_process;
        for session in [&mut one, &mut other] {
            session.execute("COMMIT").await?;
        }
    }
    for session in [one, other] {
        let _gone_already = session.close().await;
    }
    Ok(kept)
}

async fn process_of(session: &mut PgConnection) -> Result<i32, Cause> {
    let row = raw_sql("SELECT pg_backend_pid()").fetch_one(session).await?;
    Ok(row.try_get(0)?)
}

async fn in_time<T>(look: impl Future<Output = Result<T, Cause>>) -> Result<T, Cause> {
    let looked = timeout(PATIENCE, look).await;
    looked.map_err(|_| format!("the server did not answer within {} s", PATIENCE.as_secs()))?
}
