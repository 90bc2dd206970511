//! The life of a process: its tasks, the soft stop that lets them finish, and the hard one that does not.
//!
//! No task may die alone: one that ends before the stop, by an error or by a panic, ends the process, loudly.

use std::{future::Future, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

/// How long tasks may take to finish what they began.
pub const GRACE: Duration = Duration::from_secs(20);

type Ended = (&'static str, anyhow::Result<()>);

/// The tasks of a process.
#[derive(Debug, Default)]
pub struct Lifecycle {
    stop: CancellationToken,
    tasks: JoinSet<Ended>,
}

impl Lifecycle {
    /// A process without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when tasks are to finish what they have begun and to end.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task that must live until the stop.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Runs until SIGTERM or SIGINT, then stops; a second signal or the end of [`GRACE`] ends what is still running.
    ///
    /// # Errors
    /// A task that died, or one that did not finish in time.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut signalled = async move || {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM received"),
                _ = interrupt.recv() => tracing::info!("SIGINT received"),
            }
        };
        let (stop, hurry) = (CancellationToken::new(), CancellationToken::new());
        let (soft, hard) = (stop.clone(), hurry.clone());
        let watcher = tokio::spawn(async move {
            signalled().await;
            soft.cancel();
            signalled().await;
            hard.cancel();
        });
        let outcome = self.run_until(stop.cancelled(), hurry.cancelled()).await;
        watcher.abort();
        outcome
    }

    /// Runs until `stop`, then lets the tasks finish, until `hurry` or the end of [`GRACE`].
    ///
    /// # Errors
    /// As [`Lifecycle::run`].
    pub async fn run_until(
        mut self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let died = tokio::select! {
            () = stop => None,
            () = self.stop.cancelled() => None,
            Some(ended) = self.tasks.join_next() => Some(too_early(ended)),
        };
        self.stop.cancel();
        let finished = tokio::select! {
            finished = self.finish() => finished,
            () = hurry => Err(anyhow!("ended before every task had finished: asked twice")),
            () = tokio::time::sleep(GRACE) => Err(anyhow!("tasks did not finish within {} s", GRACE.as_secs())),
        };
        match died {
            Some(error) => Err(error),
            None => finished,
        }
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            let (name, outcome) = ended.context("a task panicked while stopping")?;
            outcome.with_context(|| format!("task {name} failed while stopping"))?;
        }
        Ok(())
    }
}

fn too_early(ended: Result<Ended, JoinError>) -> anyhow::Error {
    match ended {
        Ok((name, Ok(()))) => anyhow!("task {name} ended by itself"),
        Ok((name, Err(error))) => error.context(format!("task {name} died")),
        Err(error) => anyhow::Error::new(error).context("a task panicked"),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_dead_task_ends_the_process() {
        let mut life = Lifecycle::new();
        let stop = life.stop();
        life.spawn("healthy", async move {
            stop.cancelled().await;
            Ok(())
        });
        life.spawn("sick", async { Err(anyhow!("no pulse")) });
        let error = life.run_until(pending(), pending()).await.expect_err("the process must end");
        assert_eq!(format!("{error:#}"), "task sick died: no pulse");
    }

    #[tokio::test]
    async fn a_stop_lets_tasks_finish() {
        let mut life = Lifecycle::new();
        let stop = life.stop();
        life.spawn("healthy", async move {
            stop.cancelled().await;
            Ok(())
        });
        life.run_until(ready(()), pending()).await.expect("every task finished");
    }

    #[tokio::test]
    async fn a_second_request_does_not_wait() {
        let mut life = Lifecycle::new();
        life.spawn("stuck", pending());
        life.run_until(ready(()), ready(())).await.expect_err("the task is still stuck");
    }
}
