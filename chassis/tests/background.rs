//! A process ends with a loop in the background that panics. In a binary of its own: what panicked is known to the whole process.

use std::{future::pending, time::Duration};

use anyhow::{Result, bail};
use chassis::{
    background,
    lifecycle::{Lifecycle, Stage},
};
use tokio::time::timeout;

#[tokio::test]
async fn one_that_panics_ends_the_process() -> Result<()> {
    let mut lifecycle = Lifecycle::new();
    lifecycle.spawn(Stage::Services, "serving", |stop| async move {
        stop.cancelled().await;
        Ok(())
    });
    // One that ends by itself, or that is aborted with what it belongs to, is no fault.
    background::spawn("done", async {}).await?;
    let aborted = background::spawn("aborted", pending());
    aborted.abort();
    assert!(aborted.await.is_err_and(|error| error.is_cancelled()));

    let mut running = tokio::spawn(lifecycle.run_until(pending(), pending()));
    if let Ok(ended) = timeout(Duration::from_millis(300), &mut running).await {
        bail!("the process ended with nothing wrong: {ended:?}");
    }
    background::spawn("looking at keys", async { panic!("planted") });
    let error = timeout(Duration::from_secs(5), running).await??.expect_err("a death is an error");
    assert_eq!(format!("{error:#}"), "looking at keys panicked");
    Ok(())
}
