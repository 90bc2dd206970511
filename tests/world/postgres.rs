//! A PostgreSQL server of one test: it can be stopped, killed and started again.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Uid, User},
};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};
use tokio::process::Command;

use crate::{
    Port, Scratch,
    child::{Child, guarded, pid},
    eventually, installed, postgres_template,
};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// The environment variable with the folder of another version's programs.
const CHOSEN: &str = "POSTGRES_BIN";

/// Where distributions keep the server, which is not on the search path of Debian and Fedora.
const FOLDERS: [&str; 2] = ["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"];

/// A server on 127.0.0.1 and on a Unix socket, with `fsync` on: what it confirmed survives [`Postgres::kill`]. Everyone is
/// let in as `postgres` without a password.
#[derive(Debug)]
pub struct Postgres {
    // Dropped in this order: the server first, then its port and its data.
    server: Option<Child>,
    port: Port,
    scratch: Scratch,
    data: PathBuf,
    binaries: PathBuf,
    user: Option<&'static str>,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a fresh server; takes about a third of a second.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start; with the end of its log.
    pub async fn start() -> Result<Self> {
        Self::start_with(None, postgres_template::copy_to).await
    }

    /// Starts a fresh server that keeps all it writes in this folder, such as that of a small disk, and little of its log.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_in(folder: &Path) -> Result<Self> {
        Self::start_with(Some(folder), short_of_space).await
    }

    /// Starts a server on a copy of this data directory, such as a base backup of another server.
    ///
    /// # Errors
    /// The same, and when the directory cannot be copied.
    pub async fn start_on(data: &Path) -> Result<Self> {
        Self::start_with(None, |copy, _, user| postgres_template::adopt(data, copy, user)).await
    }

    async fn start_with(
        folder: Option<&Path>,
        fill: impl FnOnce(&Path, &Path, Option<&str>) -> Result<()>,
    ) -> Result<Self> {
        let postgres = installed::find_chosen("postgres", CHOSEN, &FOLDERS)?;
        let binaries = postgres.parent().context("a file has a folder")?.to_owned();
        let scratch = Scratch::new("postgres")?;
        let user = unprivileged()?;
        if let Some(user) = user {
            postgres_template::give(scratch.path(), user)?;
        }
        let data = folder.unwrap_or(scratch.path()).join("data");
        fill(&data, &binaries, user)?;
        let port = Port::reserve()?;
        let databases = AtomicU32::new(0);
        let mut this = Self { server: None, port, scratch, data, binaries, user, databases };
        this.start_again().await?;
        Ok(this)
    }

    /// Starts it on the same port with the same data, after [`Postgres::stop`] or [`Postgres::kill`].
    ///
    /// # Errors
    /// When it runs already, or does not accept connections within a minute.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.server.is_some() {
            bail!("PostgreSQL runs already");
        }
        let mut command = guarded(&self.binaries.join("postgres"), self.user)?;
        command.arg("-D").arg(&self.data);
        command.arg("-k").arg(self.scratch.path());
        command.args(["-p", &self.port.number().to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "max_connections=200", "fsync=on"] {
            command.args(["-c", setting]);
        }
        let mut server = Child::spawn(command, &self.scratch.path().join("postgres.log"))?;
        let url = self.url("postgres");
        server
            .ready("PostgreSQL to accept connections", START, async || connect(&url).await?.close().await)
            .await?;
        self.server = Some(server);
        Ok(())
    }

    /// The connection URL of a database over TCP.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.port.address())
    }

    /// The connection URL of a database over the Unix socket.
    #[must_use]
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.scratch.path().display();
        format!("postgres://postgres@localhost:{}/{database}?host={folder}", self.port.number())
    }

    /// Creates an empty database.
    ///
    /// # Errors
    /// When the server is down or has such a database.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        let admin = self.admin().await?;
        admin.execute_unprepared(&format!("CREATE DATABASE \"{name}\"")).await?;
        Ok(admin.close().await?)
    }

    /// Creates an empty database with a name of its own and returns its URL.
    ///
    /// # Errors
    /// When the server is down.
    pub async fn fresh_database(&self) -> Result<String> {
        let name = format!("fresh_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.create_database(&name).await?;
        Ok(self.url(&name))
    }

    /// A database as SQL.
    ///
    /// # Errors
    /// With what `pg_dump` said.
    pub async fn dump(&self, database: &str) -> Result<String> {
        let output = Command::new(self.binaries.join("pg_dump")).arg(self.url(database)).output().await?;
        ensure!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs what another server has dumped.
    ///
    /// # Errors
    /// With what `psql` said.
    pub async fn restore(&self, dump: &str, database: &str) -> Result<()> {
        let file = self.scratch.path().join(format!("{database}.sql"));
        fs::write(&file, dump)?;
        self.script(&file, database, &[]).await
    }

    /// Runs a file of SQL in a database, with these variables in its environment.
    ///
    /// # Errors
    /// With what `psql` said.
    pub async fn script(&self, file: &Path, database: &str, env: &[(String, &str)]) -> Result<()> {
        let mut psql = Command::new(self.binaries.join("psql"));
        psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file).arg(self.url(database));
        psql.envs(env.iter().map(|(name, value)| (name, value)));
        let output = psql.output().await?;
        ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What it has logged so far, with its settings as they are by default.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.scratch.path().join("postgres.log"))?)
    }

    /// The folder of its programs.
    #[must_use]
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    pub(crate) async fn admin(&self) -> Result<DatabaseConnection> {
        Ok(connect(&self.url("postgres")).await?)
    }

    pub(crate) fn port_number(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Who the server runs as, when it is not the test's own user.
    pub(crate) const fn user(&self) -> Option<&'static str> {
        self.user
    }

    /// Shuts it down in order: connections are closed, the write-ahead log is flushed.
    ///
    /// # Errors
    /// When it is not running or takes longer than half a minute.
    pub async fn stop(&mut self) -> Result<()> {
        let mut server = self.server.take().context("PostgreSQL is not running")?;
        server.signal(Signal::SIGINT)?;
        server.ended(STOP).await?;
        Ok(())
    }

    /// Waits until it accepts connections, and starts it again if it ends by itself before, as it does when it cannot write its log. Whether it
    /// did.
    ///
    /// # Errors
    /// As [`Postgres::start_again`].
    pub async fn revive(&mut self) -> Result<bool> {
        let (url, mut server) =
            (self.url("postgres"), self.server.take().context("PostgreSQL is not running")?);
        let ready = server
            .ready("PostgreSQL to accept connections", START, async || connect(&url).await?.close().await);
        if ready.await.is_ok() {
            self.server = Some(server);
            return Ok(false);
        }
        drop(server);
        self.start_again().await?;
        Ok(true)
    }

    /// Freezes these of its processes (SIGSTOP), which then say nothing while their connections stay, or lets them go on (SIGCONT).
    ///
    /// # Errors
    /// For a process that is not its own.
    pub fn freeze(&self, backends: &[u32], frozen: bool) -> Result<()> {
        let own = children_of(self.server.as_ref().context("PostgreSQL is not running")?.pid())?;
        for backend in backends {
            ensure!(own.contains(backend), "{backend} is no process of this server");
            kill(pid(*backend)?, if frozen { Signal::SIGSTOP } else { Signal::SIGCONT })?;
        }
        Ok(())
    }

    /// Freezes all of its processes, or lets them go on: connections stay, new ones are not answered, and nothing is said on any of them.
    ///
    /// # Errors
    /// When it is not running.
    pub fn silence(&mut self, silent: bool) -> Result<()> {
        let server = self.server.as_mut().context("PostgreSQL is not running")?;
        let signal = if silent { Signal::SIGSTOP } else { Signal::SIGCONT };
        // The postmaster first, so that it starts no other meanwhile.
        server.signal(signal)?;
        for worker in children_of(server.pid())? {
            // One that has ended meanwhile says nothing either.
            let _ = kill(pid(worker)?, signal);
        }
        Ok(())
    }

    /// Crashes it: every one of its processes gets SIGKILL, no connection is told.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> Result<()> {
        let mut server = self.server.take().context("PostgreSQL is not running")?;
        let workers = children_of(server.pid())?;
        // The postmaster first, so that it has no time to react to the death of the others.
        server.signal(Signal::SIGKILL)?;
        for worker in &workers {
            // One that has ended meanwhile is as dead as the others.
            let _ = kill(pid(*worker)?, Signal::SIGKILL);
        }
        server.ended(STOP).await?;
        // Their shared memory would keep the next start from succeeding.
        eventually("the end of PostgreSQL's workers", STOP, async || {
            match workers.iter().find(|worker| runs(**worker)) {
                Some(worker) => bail!("process {worker} still runs"),
                None => Ok(()),
            }
        })
        .await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // One that is frozen would outlive the others, and would not end when it is asked to.
            let _ended_already = server.signal(Signal::SIGCONT);
            for backend in children_of(server.pid()).unwrap_or_default() {
                let _ended_already = pid(backend).map(|backend| kill(backend, Signal::SIGCONT));
            }
            server.end(Signal::SIGQUIT);
        }
    }
}

/// A fresh data directory of a server that keeps 64 MB of its log at most, as a rule.
fn short_of_space(data: &Path, binaries: &Path, user: Option<&str>) -> Result<()> {
    postgres_template::copy_to(data, binaries, user)?;
    let mut settings = File::options().append(true).open(data.join("postgresql.auto.conf"))?;
    Ok(writeln!(settings, "min_wal_size = 32MB\nmax_wal_size = 64MB")?)
}

/// PostgreSQL refuses to run as root.
fn unprivileged() -> Result<Option<&'static str>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    Ok(Some(if User::from_name("postgres")?.is_some() { "postgres" } else { "nobody" }))
}

async fn connect(url: &str) -> Result<DatabaseConnection, sea_orm::DbErr> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false).connect_timeout(Duration::from_secs(1));
    Database::connect(options).await
}

fn children_of(parent: u32) -> Result<Vec<u32>> {
    let processes = fs::read_dir("/proc")?.flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(ids.filter(|id| stat(*id).is_some_and(|(_, of)| of == parent)).collect())
}

/// A dead process whose parent has not noticed yet holds nothing any more.
fn runs(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state != 'Z')
}

/// State and parent of a process, from `/proc/<id>/stat` (proc_pid_stat(5)): they follow the name in parentheses, which may
/// itself hold spaces and parentheses.
fn stat(id: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
