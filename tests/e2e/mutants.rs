//! What scripts/mutants makes of what cargo-mutants has found: too few that are caught are a failure, and one that is not and has no reason.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use world::Scratch;

const REASONS: &str =
    "# Of no meaning.\nsome/file.rs: replace on with off in f\n  Nobody can see the difference.\n";
/// The line of the one that has a reason, wherever it is now.
const EXCUSED: &str = "some/file.rs:70:1: replace on with off in f\n";

/// Lines as cargo-mutants has them, so many.
fn mutants(count: usize) -> String {
    (1..=count).map(|line| format!("some/file.rs:{line}:5: replace f{line} -> bool with true\n")).collect()
}

/// Whether it succeeds for these lists, by these reasons or by those of the repository, and all that it says.
fn judged(caught: usize, missed: &str, reasons: Option<&str>) -> Result<(bool, String)> {
    let scratch = Scratch::new("mutants")?;
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("caught.txt"), mutants(caught))?;
    fs::write(at("timeout.txt"), "")?;
    fs::write(at("missed.txt"), missed)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/mutants");
    let mut judge = Command::new(script);
    judge.arg("--judge").arg(scratch.path());
    if let Some(reasons) = reasons {
        fs::write(at("reasons.txt"), reasons)?;
        judge.arg(at("reasons.txt"));
    }
    let output = judge.output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn ninety_of_a_hundred_are_enough() -> Result<()> {
    let (passed, said) = judged(9, EXCUSED, Some(REASONS))?;
    ensure!(passed && said.contains("9 of 10 are caught"), "{said}");
    let (passed, said) = judged(8, EXCUSED, Some(REASONS))?;
    ensure!(!passed && said.contains("fewer than 90 of a hundred"), "{said}");
    let (passed, said) = judged(0, "", Some(REASONS))?;
    ensure!(!passed && said.contains("there is none"), "{said}");
    Ok(())
}

#[test]
fn whoever_is_not_caught_has_a_reason() -> Result<()> {
    let other = "some/file.rs:7:1: replace on with off in g\n";
    let (passed, said) = judged(99, other, Some(REASONS))?;
    ensure!(!passed && said.contains("some/file.rs: replace on with off in g"), "{said}");
    let (passed, said) =
        judged(99, EXCUSED, Some(&format!("{REASONS}some/file.rs: replace 1 with 2 in h\n")))?;
    ensure!(!passed && said.contains("without a reason:\n  some/file.rs: replace 1 with 2 in h"), "{said}");
    Ok(())
}

/// Those of the repository can be read, and are of files that are there.
#[test]
fn reasons_are_about_what_is_there() -> Result<()> {
    let (passed, said) = judged(1, "", None)?;
    ensure!(passed, "{said}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let reasons = fs::read_to_string(root.join("scripts/mutants.txt"))?;
    for line in reasons.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', ' '])) {
        let file = line.split(':').next().unwrap_or_default();
        ensure!(root.join(file).is_file(), "there is no file of {line:?}");
    }
    Ok(())
}
