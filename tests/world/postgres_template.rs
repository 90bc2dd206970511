//! A data directory made once and copied for every server: initdb takes ten times as long as the copy.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{Scratch, child::guarded};

/// Puts a fresh data directory at `data`, owned by `user` when that is given.
pub(crate) fn copy_to(data: &Path, binaries: &Path, user: Option<&str>) -> Result<()> {
    let cache = cache()?;
    fs::create_dir_all(&cache)?;
    let template = cache.join(version(binaries)?);
    let lock = File::create(cache.join("postgres.lock"))?;
    lock.lock()?;
    if !template.exists() {
        make(&template, binaries, user)?;
    }
    copy(&template, data)
}

/// `target/tmp`, seen from the test `target/<profile>/deps/<test>` or the bench `target/<profile>/<bench>`.
fn cache() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let profile = program.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    let target = profile.and_then(Path::parent).context("the test runs outside a target directory")?;
    Ok(target.join("tmp"))
}

/// A directory name such as `postgres-15-10-Debian-15-10-0-deb12u1-for-postgres`: another version or user, another template.
fn version(binaries: &Path) -> Result<String> {
    let output = Command::new(binaries.join("postgres")).arg("--version").output()?;
    let text = String::from_utf8(output.stdout)?;
    let words: Vec<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    Ok(format!("{}-for-{}", words.join("-"), nix::unistd::Uid::effective()))
}

/// Puts a copy of somebody's data directory at `data`, owned by `user` when that is given.
pub(crate) fn adopt(from: &Path, data: &Path, user: Option<&str>) -> Result<()> {
    copy(from, data)?;
    match user {
        Some(user) => run(Command::new("chown").arg("-R").arg(format!("{user}:")).arg(data)),
        None => Ok(()),
    }
}

fn make(template: &Path, binaries: &Path, user: Option<&str>) -> Result<()> {
    // Made in a directory the server's user can reach, which the target directory need not be.
    let scratch = Scratch::new("initdb")?;
    if let Some(user) = user {
        give(scratch.path(), user)?;
    }
    let data = scratch.path().join("data");
    let mut initdb = guarded(&binaries.join("initdb"), user)?;
    initdb.args([
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--pgdata",
    ]);
    run(initdb.arg(&data))?;
    // Renamed when complete: a test killed while copying leaves no half template behind.
    let partial = template.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    copy(&data, &partial)?;
    Ok(fs::rename(partial, template)?)
}

/// Keeps owner and mode, which the server checks.
fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("-a").arg(from).arg(to))
}

pub(crate) fn give(path: &Path, user: &str) -> Result<()> {
    run(Command::new("chown").arg(format!("{user}:")).arg(path))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
