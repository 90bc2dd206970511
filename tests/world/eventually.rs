//! Waiting for a state instead of for a time.

use std::{fmt::Display, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// How long to wait for what should take well under a second: long enough for a loaded machine, short enough to notice.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks: rare enough to cost nothing, often enough not to slow a test.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls `probe` until it returns `Ok`. An `Err` is not a failure but what was seen instead, and becomes part of the
/// message when time runs out.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let mut looks = 0;
/// let seen = world::eventually("three looks", world::PATIENCE, async || {
///     looks += 1;
///     anyhow::ensure!(looks >= 3, "only {looks}");
///     Ok(looks)
/// });
/// assert_eq!(seen.await.unwrap(), 3);
/// # });
/// ```
///
/// # Errors
/// When `deadline` has passed: names `what` was awaited and what was seen last.
pub async fn eventually<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut last = "nothing yet".to_owned();
    loop {
        match timeout_at(end, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) if Instant::now() < end => last = format!("{seen:#}"),
            Ok(Err(seen)) => bail!("waited {deadline:?} for {what}; last seen: {seen:#}"),
            Err(_) => {
                bail!("waited {deadline:?} for {what}; the last look did not return, before it: {last}")
            }
        }
        sleep(PAUSE).await;
    }
}
