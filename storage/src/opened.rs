//! A database is looked at before anything rests on it: it answers, and a session keeps the settings that it was given.

use std::{error::Error, fs, sync::Arc, time::Duration};

use sea_orm::sqlx::{
    self, ConnectOptions as _, Connection as _, PgConnection, Row as _, postgres::PgConnectOptions, raw_sql,
};
use tokio::time::timeout;

use crate::{
    session::{COMMON, Setting, with},
    url::SqliteFile,
};

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
    if file.path.is_dir() {
        return Err("it is a folder, not a file".into());
    }
    if !file.create && !file.path.exists() {
        return Err("the file does not exist, and mode=rw does not make it".into());
    }
    Ok(())
}

/// Whether the server takes sessions with these settings, one set for each kind of connection. A pooler in between may drop what a
/// session is started with in silence, or give the next statement to another session: an acknowledged write would then rest on
/// settings that are not there.
pub(crate) async fn server(server: &PgConnectOptions, kinds: [&[Setting]; 3]) -> Result<(), Cause> {
    for settings in kinds {
        let session = with(server.clone(), settings);
        let wanted: Vec<Setting> = COMMON.iter().chain(settings).copied().collect();
        timeout(PATIENCE, has(&session, &wanted))
            .await
            .map_err(|_| format!("the server did not answer within {} s", PATIENCE.as_secs()))??;
    }
    Ok(())
}

async fn has(session: &PgConnectOptions, wanted: &[Setting]) -> Result<(), Cause> {
    let mut connection: PgConnection = session.connect().await?;
    let shown: Vec<String> = wanted.iter().map(|(name, _)| format!("current_setting('{name}')")).collect();
    // Not prepared: behind a pooler, another session may have the name of the statement.
    let query = format!("SELECT {}", shown.join(", "));
    let row = raw_sql(sqlx::AssertSqlSafe(query)).fetch_one(&mut connection).await?;
    for (at, (name, value)) in wanted.iter().enumerate() {
        let found: String = row.try_get(at)?;
        if found != *value {
            return Err(format!(
                "a session that is started with {name} = {value} has {name} = {found}: a pooler in between (PgBouncer with \
                 ignore_startup_parameters) drops the settings of a session, on which durability rests; connect to the server itself"
            )
            .into());
        }
    }
    let _gone_already = connection.close().await;
    Ok(())
}
