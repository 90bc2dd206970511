//! Instructions of one case, counted by valgrind's callgrind.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cases::{Call, Case};

/// The argument that makes this program run one case, so that it can be run under valgrind.
pub(crate) const EXECUTE: &str = "--execute";

/// So many that a table that grows once, or a hash that collides, is a small share of the count.
const CALLS: u32 = 100;

/// Runs a case as it is counted.
pub(crate) fn execute(case: &Case) {
    let mut call = (case.prepare)();
    // What is made at the first call only is not counted.
    call();
    counted_calls(&mut call);
}

/// Counting begins and ends with this function, which callgrind knows by its name.
#[inline(never)]
fn counted_calls(call: &mut Call) {
    for _ in 0..CALLS {
        call();
    }
}

/// The instructions of one call.
///
/// # Errors
/// When valgrind cannot be started, or tells no count.
pub(crate) fn count(case: &Case) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*valgrind::counted_calls*"])
        .args(["--callgrind-out-file=/dev/null", "--read-inline-info=no"])
        .arg(std::env::current_exe()?)
        .args([EXECUTE, case.name])
        .output()
        .context("valgrind cannot be started: scripts/setup installs it")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: valgrind failed\n{told}", case.name);
    match told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<u64>().ok()) {
        Some(0) | None => bail!("{}: valgrind has counted nothing\n{told}", case.name),
        Some(instructions) => Ok(instructions / u64::from(CALLS)),
    }
}
