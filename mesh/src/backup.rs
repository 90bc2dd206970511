//! `ordermesh backup`: both databases of the embedded mesh at one instant, while it runs.

mod copy;
mod books;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use self::copy::Held;

/// The names of the databases in the data directory.
const FILES: [&str; 2] = ["orders.db", "payments.db"];

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

/// Copies both databases as they are at one instant, verifies the copies, and writes down where they are. What fails leaves nothing.
///
/// # Errors
/// When the folder is there, a database cannot be read or the copy be written, or something about the copy is wrong.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let Arguments { out, data_dir } = arguments;
    ensure!(!out.exists(), "{} is there, and a backup overwrites nothing", out.display());
    for name in FILES {
        let file = data_dir.join(name);
        ensure!(
            file.is_file(),
            "there is no {}: PostgreSQL has its own backups (docs/BACKUP.md)",
            file.display()
        );
    }
    let name = out.file_name().context("--out must name a folder")?.to_string_lossy().into_owned();
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Under its own name there are only whole backups.
    let partial = parent.join(format!("{name}.partial-{}", std::process::id()));
    fs::create_dir(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    let made = write(data_dir, &partial).and_then(|books| {
        ensure!(!out.exists(), "{} is there by now", out.display());
        fs::rename(&partial, out).context("cannot give the backup its name")?;
        sync(parent)?;
        Ok(books)
    });
    if made.is_err() {
        // The error says more than what is left of the attempt.
        let _removed = fs::remove_dir_all(&partial);
    }
    Ok(format!("{}: {}", out.display(), made?))
}

fn write(data_dir: &Path, out: &Path) -> anyhow::Result<String> {
    let held: Vec<Held> = copy::hold(&FILES.map(|name| data_dir.join(name)))?;
    for (held, name) in held.into_iter().zip(FILES) {
        let copy = out.join(name);
        held.copy(&copy).with_context(|| format!("cannot copy {name}"))?;
        sync(&copy)?;
    }
    let books = books::verify(&out.join(FILES[0]), &out.join(FILES[1]))?;
    sync(out)?;
    Ok(books)
}

/// Waits until a file, or the names in a folder, are on the disk.
fn sync(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.sync_all().with_context(|| format!("cannot write {} to the disk", path.display()))
}
