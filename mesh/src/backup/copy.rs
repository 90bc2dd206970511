//! Copies of several SQLite databases at one instant, beside the process that writes them.
//!
//! All writers are held up for the moment in which a snapshot of each is taken: nothing is committed between one and the next. The copying
//! itself then reads the snapshots, while the mesh goes on.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags, backup::Backup};

/// How long a writer may take to let go: the mesh's transactions are over within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pages that are copied at a time.
const PAGES: i32 = 1_000;

/// A database with a snapshot of it.
pub(super) struct Held(Connection);

/// Takes a snapshot of each database, all at one instant.
///
/// # Errors
/// When a database cannot be opened, or somebody does not let go of it.
pub(super) fn hold(files: &[PathBuf]) -> anyhow::Result<Vec<Held>> {
    let open = |file: &PathBuf, flags| {
        let opened = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        let opened = opened.with_context(|| format!("cannot open {}", file.display()))?;
        opened.busy_timeout(PATIENCE)?;
        anyhow::Ok(opened)
    };
    let writer = |file| open(file, OpenFlags::SQLITE_OPEN_READ_WRITE);
    let writers: Vec<Connection> = files.iter().map(writer).collect::<Result<_, _>>()?;
    let readers: Vec<Connection> =
        files.iter().map(|file| open(file, OpenFlags::SQLITE_OPEN_READ_WRITE)).collect::<Result<_, _>>()?;
    for (writer, file) in writers.iter().zip(files) {
        let held = writer.execute_batch("BEGIN IMMEDIATE");
        held.with_context(|| format!("somebody writes {} all the time", file.display()))?;
    }
    // A transaction has its snapshot with its first read.
    for reader in &readers {
        reader.execute_batch("BEGIN; SELECT COUNT(*) FROM sqlite_schema;").context("cannot read")?;
    }
    for writer in &writers {
        writer.execute_batch("ROLLBACK").context("cannot let go")?;
    }
    Ok(readers.into_iter().map(Held).collect())
}

impl Held {
    /// Copies the snapshot to a file that is not there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn copy(self, to: &Path) -> anyhow::Result<()> {
        let mut copy = Connection::open(to)?;
        // The connection has a transaction: every step reads its snapshot (sqlite3_backup_step takes the one that there is).
        Backup::new(&self.0, &mut copy)?.run_to_completion(PAGES, Duration::ZERO, None)?;
        // The header says WAL, as that of the original: the mesh opens it so, and a file alone is whole.
        copy.close().map_err(|(_, error)| error)?;
        Ok(())
    }
}
