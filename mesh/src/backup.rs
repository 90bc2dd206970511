//! `ordermesh backup`: both databases of the embedded mesh at one instant, while it runs.

mod copy;
mod books;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, bail, ensure};
use chassis::signals::Signals;
use storage::opened::INCOMPLETE;
use tokio::task::spawn_blocking;

use self::copy::Held;

/// The names of the databases in the data directory.
const FILES: [&str; 2] = ["orders.db", "payments.db"];
/// What the file says that marks an unfinished backup.
const MARK: &str = "This backup was not finished: nothing can be restored from it, and it can be removed.\n";

/// Flags of `backup`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// The folder that is made for the backup; it must not be there. `up --data-dir` starts a mesh on it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where the embedded databases live
    #[arg(long, env = "DATA_DIR", default_value = "./data")]
    data_dir: PathBuf,
}

/// Copies both databases as they are at one instant, verifies the copies, and writes down where they are. What fails or is stopped leaves nothing, and
/// what is killed leaves a folder that nothing starts from, until the next backup with this name removes it.
///
/// # Errors
/// When the folder is there, a database cannot be read or the copy be written, something about the copy is wrong, or it is stopped.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<String> {
    let mut signals = Signals::install()?;
    let attempt = Attempt::begin(arguments)?;
    let (partial, decided) = (attempt.partial.clone(), Arc::clone(&attempt.decided));
    let mut making = spawn_blocking(move || attempt.make());
    tokio::select! {
        // One that is there by now is whole.
        biased;
        made = &mut making => return made.context("the backup has panicked")?,
        () = signals.next() => {}
    }
    // A copy that is verified only gets its name: removed meanwhile, it would have its own name and be no whole one.
    if decided.swap(true, Ordering::AcqRel) {
        return making.await.context("the backup has panicked")?;
    }
    remove(&partial)?;
    bail!("stopped before the backup was complete, of which nothing is left")
}

/// A backup that is being made.
struct Attempt {
    data_dir: PathBuf,
    out: PathBuf,
    /// The folder around it.
    parent: PathBuf,
    /// Under its own name there are only whole backups.
    partial: PathBuf,
    /// Set by whichever comes first: the end of the copying, after which it gets its name, or a signal, after which it is removed.
    decided: Arc<AtomicBool>,
    /// As long as it is locked, the attempt goes on, in whichever container.
    _mark: File,
}

impl Attempt {
    fn begin(Arguments { out, data_dir }: Arguments) -> anyhow::Result<Self> {
        ensure!(!out.exists(), "{} is there, and a backup overwrites nothing", out.display());
        let is_partial = data_dir.join(INCOMPLETE).exists();
        ensure!(!is_partial, "{} is a backup that was not finished", data_dir.display());
        for name in FILES {
            let file = data_dir.join(name);
            let is_there = file.is_file();
            ensure!(
                is_there,
                "there is no {}: PostgreSQL has its own backups (docs/BACKUP.md)",
                file.display()
            );
        }
        let name = out.file_name().context("--out must name a folder")?.to_string_lossy().into_owned();
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (parent, before) = (parent.to_owned(), format!("{name}.partial-"));
        clear(&parent, &before)?;
        let partial = parent.join(format!("{before}{}", std::process::id()));
        fs::create_dir(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
        let mark = mark(&partial).inspect_err(|_error| drop(remove(&partial)))?;
        Ok(Self { data_dir, out, parent, partial, decided: Arc::default(), _mark: mark })
    }

    fn make(self) -> anyhow::Result<String> {
        let made = write(&self.data_dir, &self.partial).and_then(|books| self.name().map(|()| books));
        if made.is_err() {
            // The error says more than what is left of the attempt.
            let _removed = remove(&self.partial);
        }
        Ok(format!("{}: {}", self.out.display(), made?))
    }

    /// Gives it its name, unless it was stopped.
    fn name(&self) -> anyhow::Result<()> {
        let Self { out, parent, partial, decided, .. } = self;
        ensure!(!decided.swap(true, Ordering::AcqRel), "stopped before the backup was complete");
        ensure!(!out.exists(), "{} is there by now", out.display());
        let mark = partial.join(INCOMPLETE);
        fs::remove_file(&mark).with_context(|| format!("cannot remove {}", mark.display()))?;
        sync(partial)?;
        fs::rename(partial, out).context("cannot give the backup its name")?;
        sync(parent)
    }
}

/// Marks an attempt until its end, on the disk before anything else: who is killed cannot say any more that it was.
fn mark(partial: &Path) -> anyhow::Result<File> {
    let path = partial.join(INCOMPLETE);
    let write = || {
        let mut mark = File::create(&path)?;
        mark.lock()?;
        mark.write_all(MARK.as_bytes())?;
        mark.sync_all()?;
        Ok::<_, io::Error>(mark)
    };
    let mark = write().with_context(|| format!("cannot write {}", path.display()))?;
    sync(partial)?;
    Ok(mark)
}

/// Removes what attempts at this backup have left that were killed: each is a copy of the books. One that goes on has its mark locked.
fn clear(parent: &Path, before: &str) -> anyhow::Result<()> {
    let Ok(there) = fs::read_dir(parent) else { return Ok(()) };
    for folder in there {
        let folder = folder?;
        if !folder.file_name().to_string_lossy().starts_with(before) {
            continue;
        }
        // One without a mark is about to begin, or to get its name.
        let Ok(mark) = File::open(folder.path().join(INCOMPLETE)) else { continue };
        if mark.try_lock().is_ok() {
            remove(&folder.path())?;
        }
    }
    Ok(())
}

/// Removes a folder, in which somebody may make a file meanwhile.
fn remove(folder: &Path) -> anyhow::Result<()> {
    let mut removed = fs::remove_dir_all(folder);
    for _again in 0..10 {
        match &removed {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                removed = fs::remove_dir_all(folder);
            }
            _ => break,
        }
    }
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("cannot remove {}", folder.display())),
    }
}

fn write(data_dir: &Path, out: &Path) -> anyhow::Result<String> {
    let held: Vec<Held> = copy::hold(&FILES.map(|name| data_dir.join(name)))?;
    for (held, name) in held.into_iter().zip(FILES) {
        let copy = out.join(name);
        held.copy(&copy).with_context(|| format!("cannot copy {name}"))?;
        sync(&copy)?;
    }
    books::verify(&out.join(FILES[0]), &out.join(FILES[1]))
}

/// Waits until a file, or the names in a folder, are on the disk.
fn sync(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.sync_all().with_context(|| format!("cannot write {} to the disk", path.display()))
}
