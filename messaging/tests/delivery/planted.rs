//! Bugs that are planted: a test of this binary, run again with the bug in it, fails.

use anyhow::{Result, ensure};
use world::{PATIENCE, Program};

async fn is_found(bug: &str, test: &str) -> Result<()> {
    let test = Program::at(&std::env::current_exe()?).args([test, "--exact"]);
    let mut with_bug = test.env("FAILPOINTS", format!("{bug}=return")).start()?;
    with_bug.wait(3 * PATIENCE).await?;
    ensure!(with_bug.output().contains("0 passed; 1 failed"), "{bug}: {}", with_bug.output());
    Ok(())
}

#[tokio::test]
async fn a_consumer_without_its_inbox_is_found() -> Result<()> {
    is_found("inbox_skipped", "crashes::death_between_confirm_and_settlement_embedded").await
}

#[tokio::test]
async fn a_publisher_that_awaits_no_confirm_of_rabbitmq_is_found() -> Result<()> {
    is_found("confirms_not_awaited", "commits::an_unroutable_message_waits_for_its_queue").await
}
