//! Finding programs that are not ours: the servers and what starts them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Finds `name` in the first of `folders` that has it, else along `PATH`. A `*` as a whole path component stands for any
/// name, the highest number first.
pub(crate) fn find(name: &str, folders: &[&str]) -> Result<PathBuf> {
    let along_path = std::env::var_os("PATH").unwrap_or_default();
    folders
        .iter()
        .flat_map(|folder| expand(folder))
        .chain(std::env::split_paths(&along_path))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not installed: run scripts/setup"))
}

/// The same for a program of a server that is one of several versions: with the environment variable `chosen`, it is in that
/// folder or nowhere.
pub(crate) fn find_chosen(name: &str, chosen: &str, folders: &[&str]) -> Result<PathBuf> {
    let Some(folder) = std::env::var_os(chosen) else { return find(name, folders) };
    let file = Path::new(&folder).join(name);
    ensure!(file.is_file(), "{chosen}: there is no {}", file.display());
    Ok(file)
}

fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("/*") else { return vec![pattern.into()] };
    let Ok(entries) = Path::new(before).read_dir() else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort_by_key(|path| std::cmp::Reverse(number_in(path)));
    found.into_iter().map(|path| path.join(after.trim_start_matches('/'))).collect()
}

/// 9 comes before 15 by number and after it by spelling.
fn number_in(path: &Path) -> u32 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits: String =
        name.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}
