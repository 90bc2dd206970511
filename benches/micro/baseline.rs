//! The counts that are accepted: a file with a line for each case, kept with the code that they belong to.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, Result};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

const HEAD: &str = "# Instructions of one call of each case in benches/micro, optimised as gate.toml says, on x86-64.\n\
                    # Made by `just bench-micro-baseline`.\n";

/// The accepted counts, by case.
///
/// # Errors
/// When the file is not as [`write`] makes it.
pub(crate) fn read() -> Result<BTreeMap<String, u64>> {
    let text = std::fs::read_to_string(FILE).context(FILE)?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| entry(line).with_context(|| format!("{FILE}: {line:?}"))).collect()
}

fn entry(line: &str) -> Result<(String, u64)> {
    let (name, count) = line.split_once(' ').context("no name and count")?;
    Ok((name.to_owned(), count.trim().parse()?))
}

/// Replaces the accepted counts.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(counts: &[(&str, u64)]) -> Result<()> {
    let mut text = HEAD.to_owned();
    for (name, count) in counts {
        writeln!(text, "{name} {count}")?;
    }
    std::fs::write(FILE, text).context(FILE)
}
