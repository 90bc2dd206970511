//! Directories that end with the test that owns them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

const PREFIX: &str = "ordermesh-test-";

/// The file whose lock says that the owner of a directory still lives.
const ALIVE: &str = "alive";

/// A killed test cannot remove its directory: a later one does. Younger ones are left alone, so that a directory between
/// its creation and its lock is safe.
const ABANDONED: Duration = Duration::from_secs(600);

/// A directory of one test, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    _alive: File,
}

impl Scratch {
    /// Makes an empty directory whose name starts with `ordermesh-test-` and `name`.
    ///
    /// # Errors
    /// When the system's directory for temporary files cannot be written.
    pub fn new(name: &str) -> Result<Self> {
        sweep();
        let dir = tempfile::Builder::new().prefix(&format!("{PREFIX}{name}-")).tempdir()?;
        let alive = hold(dir.path())?;
        Ok(Self { dir, _alive: alive })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Where several tests share a directory of this name; one of them has to make it and somebody to [`hold`] it.
pub(crate) fn common(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{name}"))
}

/// Keeps a directory from the sweep for as long as the file is open, in whichever process.
///
/// # Errors
/// When somebody else holds it.
pub(crate) fn hold(dir: &Path) -> Result<File> {
    let alive = File::create(dir.join(ALIVE))?;
    alive.try_lock().with_context(|| format!("{} is held by someone else", dir.display()))?;
    Ok(alive)
}

/// Removes what killed tests left behind. Best effort: whatever cannot be read or removed is somebody else's.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for dir in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        if is_abandoned(&dir.path()).unwrap_or(false) {
            let _ = fs::remove_dir_all(dir.path());
        }
    }
}

fn is_abandoned(dir: &Path) -> Result<bool> {
    let alive = File::open(dir.join(ALIVE))?;
    let age = alive.metadata()?.modified()?.elapsed()?;
    Ok(age > ABANDONED && alive.try_lock().is_ok())
}
