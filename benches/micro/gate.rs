//! The gate: no case may take many more instructions than its baseline.

use std::io::Write as _;

use anyhow::{Result, bail, ensure};

use crate::{baseline, cases::CASES, valgrind};

/// Three times what a count changes by without a change of the code: see docs/PERFORMANCE.md.
const LIMIT: f64 = 0.10;

/// That of the edge's own work for a request, whose counts are the same to the instruction in every run.
const LIMIT_OF_TRANSCODE: f64 = 0.03;

/// How the limit is moved, when more work is meant.
const RENEWAL: &str =
    "If it is meant: run `just bench-micro-baseline`, and say in the commit why it is worth its price.";

/// Compares every case with its baseline.
///
/// # Errors
/// With every case that takes too many instructions, or has no baseline.
pub(crate) fn check() -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        return Ok(writeln!(std::io::stderr(), "the baseline is of x86-64: nothing to compare with")?);
    }
    let mut accepted = baseline::read()?;
    let mut failures = Vec::new();
    for (name, count) in counts()? {
        let Some(before) = accepted.remove(name) else {
            failures.push(format!("{name} has no baseline"));
            continue;
        };
        let change = count as f64 / before as f64 - 1.0;
        writeln!(std::io::stdout(), "{name:<40} {count:>9} {before:>9} {:>+7.2} %", 100.0 * change)?;
        let limit = limit_of(name);
        if change > limit {
            failures.push(format!(
                "{name} takes {:.1} % more instructions and may take {:.0} %: {before} before, {count} now",
                100.0 * change,
                100.0 * limit
            ));
        }
    }
    failures.extend(accepted.into_keys().map(|name| format!("{name} has a baseline, but is no case")));
    if failures.is_empty() {
        return Ok(());
    }
    bail!("too much over the baseline\n{}\n{RENEWAL}", failures.join("\n"))
}

/// How many more instructions a case may take than its baseline, of 1.
fn limit_of(name: &str) -> f64 {
    if name.starts_with("transcode/") { LIMIT_OF_TRANSCODE } else { LIMIT }
}

/// Makes what is counted now the baseline.
///
/// # Errors
/// When it cannot be counted, or not be written.
pub(crate) fn renew() -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "the baseline is of x86-64");
    baseline::write(&counts()?)
}

fn counts() -> Result<Vec<(&'static str, u64)>> {
    ensure!(!cfg!(debug_assertions), "not optimised: `just bench-micro-gate` builds what is to be counted");
    CASES.iter().map(|case| Ok((case.name, valgrind::count(case)?))).collect()
}
