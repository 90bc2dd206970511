//! Bugs that are planted: a test of this binary, run again with the bug in it, fails.

use anyhow::{Result, ensure};
use world::{PATIENCE, Program};

#[tokio::test]
async fn a_writer_that_is_used_again_after_a_failed_commit_is_found() -> Result<()> {
    let test = "faults::a_commit_that_leaves_its_transaction_open_stops_nobody";
    let test = Program::at(&std::env::current_exe()?).args([test, "--exact"]);
    ensure!(test.start()?.wait(PATIENCE).await?.success(), "it fails without any bug");
    let mut with_bug = test.env("FAILPOINTS", "writer_reused=return").start()?;
    with_bug.wait(PATIENCE).await?;
    ensure!(with_bug.output().contains("0 passed; 1 failed"), "{}", with_bug.output());
    Ok(())
}
