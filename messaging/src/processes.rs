//! The processes of a service: which of them run on one database, and of which version and build each is.
//!
//! On PostgreSQL each says so in a row of its own, again and again. A SQLite file belongs to one process at a time, which has nobody to say it to.

use std::{env, fs, time::Duration};

use sea_orm::{ConnectionTrait as _, DbErr, QueryResult, Statement, Value};
use storage::{Database, lease};
use tokio_util::sync::CancellationToken;

use crate::{
    health::{Health, Report},
    observe, retry,
};

/// How often a process says that it runs.
const EVERY: Duration = Duration::from_secs(5);
/// How long the end of one waits for a database that does not answer.
const LEAVING: Duration = Duration::from_secs(1);
/// How long one is listed that has not said so any more, in microseconds: somebody may look for what has died.
const LISTED: i64 = 600_000_000;

/// What one has said of its parts counts for so long, in microseconds: two turns and a little.
const FRESH: i64 = 12_000_000;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Distinguishes it, and is the holder of its relay's lease.
    pub id: String,
    /// Its version.
    pub version: String,
    /// What its build is called.
    pub build: String,
    /// The name of the machine or container.
    pub host: String,
    /// When it was started, in microseconds since the Unix epoch.
    pub start_time: i64,
    /// When it last said that it runs, in microseconds since the Unix epoch.
    pub seen_time: i64,
}

impl Process {
    /// This process, from now on.
    #[must_use]
    pub fn this(database: &Database, version: &str, build: &str) -> Self {
        let now = retry::now();
        Self {
            id: id(database),
            version: version.to_owned(),
            build: build.to_owned(),
            host: host(),
            start_time: now,
            seen_time: now,
        }
    }

    /// Says that it runs, and what its parts do, until `stop`, and then that it does not any more. A database that is away does not end it.
    pub async fn keep(self, database: Database, health: Health, stop: CancellationToken) {
        if database.is_embedded() {
            return stop.cancelled().await;
        }
        tokio::select! {
            () = self.say_again_and_again(&database, &health) => {}
            () = stop.cancelled() => {}
        }
        // Whoever does not get around to it is listed for a while.
        let leave = run(&database, "DELETE FROM processes WHERE id = $1", [self.id.clone().into()]);
        if let Ok(Err(error)) = tokio::time::timeout(LEAVING, leave).await {
            observe::storage_failed("processes", &error.into());
        }
    }

    async fn say_again_and_again(&self, database: &Database, health: &Health) {
        let mut failing = false;
        loop {
            match self.say(database, &health.report()).await {
                Ok(()) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    observe::storage_failed("processes", &error.into());
                }
                Err(_) => {}
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn say(&self, database: &Database, report: &Report) -> Result<(), DbErr> {
        let now = lease::now(database.backend());
        let sql = format!(
            "WITH gone AS (DELETE FROM processes WHERE seen_time < {now} - $6 AND id <> $1)
             INSERT INTO processes (id, version, build, host, start_time, seen_time, report)
             VALUES ($1, $2, $3, $4, $5, {now}, $7)
             ON CONFLICT (id) DO UPDATE SET seen_time = excluded.seen_time, report = excluded.report"
        );
        let Self { id, version, build, host, start_time, .. } = self.clone();
        let values: [Value; 7] = [
            id.into(),
            version.into(),
            build.into(),
            host.into(),
            start_time.into(),
            LISTED.into(),
            report.to_json().into(),
        ];
        run(database, &sql, values).await
    }
}

/// It waits for no flush: what a crash of the server takes away is said again.
async fn run(database: &Database, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<(), DbErr> {
    let statement = Statement::from_sql_and_values(database.backend(), sql, values);
    database.unflushed().execute_raw(statement).await.map(drop)
}

/// The processes that run on a database, those that were started first coming first; also those that have ended within ten minutes without
/// saying so. `this` is one of them.
///
/// # Errors
/// As the database says.
pub async fn list(database: &Database, this: &Process) -> Result<Vec<Process>, DbErr> {
    if database.is_embedded() {
        return Ok(vec![Process { seen_time: retry::now(), ..this.clone() }]);
    }
    let sql = "SELECT id, version, build, host, start_time, seen_time FROM processes ORDER BY start_time, id";
    let rows = database.read().query_all_raw(Statement::from_string(database.backend(), sql)).await?;
    let process = |row: &QueryResult| -> Result<Process, DbErr> {
        Ok(Process {
            id: row.try_get_by_index(0)?,
            version: row.try_get_by_index(1)?,
            build: row.try_get_by_index(2)?,
            host: row.try_get_by_index(3)?,
            start_time: row.try_get_by_index(4)?,
            seen_time: row.try_get_by_index(5)?,
        })
    };
    let mut processes = rows.iter().map(process).collect::<Result<Vec<Process>, DbErr>>()?;
    if processes.iter().all(|process| process.id != this.id) {
        // Its row is on its way, or was taken away by a crash of the server.
        processes.push(Process { seen_time: retry::now(), ..this.clone() });
        processes.sort_by_key(|process| process.start_time);
    }
    Ok(processes)
}

/// What the other processes say of their parts, by the ids of those that have said so lately: a file has none.
///
/// # Errors
/// As the database says.
pub async fn reports(database: &Database, this: &str) -> Result<Vec<(String, Report)>, DbErr> {
    if database.is_embedded() {
        return Ok(Vec::new());
    }
    let now = lease::now(database.backend());
    let sql = format!(
        "SELECT id, report FROM processes WHERE id <> $1 AND seen_time > {now} - $2 AND report IS NOT NULL ORDER BY start_time, id"
    );
    let find = Statement::from_sql_and_values(database.backend(), sql, [this.into(), FRESH.into()]);
    let rows = database.read().query_all_raw(find).await?;
    let report = |row: &QueryResult| -> Result<(String, Report), DbErr> {
        Ok((row.try_get_by_index(0)?, Report::from_json(&row.try_get_by_index::<String>(1)?)))
    };
    rows.iter().map(report).collect()
}

/// What distinguishes this process, and holds leases. A SQLite file belongs to one process at a time: after a crash the next one goes on at once.
pub(crate) fn id(database: &Database) -> String {
    if database.is_embedded() {
        return "the process with the file".to_owned();
    }
    format!("process {} ({:016x})", std::process::id(), rand::random::<u64>())
}

/// The name of the machine, which in a container is that of the container.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| env::var("HOSTNAME").ok());
    // What another system says with a control character, no terminal is to read.
    name.unwrap_or_default().trim().chars().filter(|letter| !letter.is_control()).take(255).collect()
}
