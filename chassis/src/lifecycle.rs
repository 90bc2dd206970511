//! The life of a process: its tasks, the soft stop that lets them finish stage by stage, and the hard one that does not.
//!
//! No task may die alone: one that ends before the stop, by an error or by a panic, ends the process, loudly.

use std::{future::Future, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::signals::Signals;

/// How long tasks may take to finish what they began.
pub const GRACE: Duration = Duration::from_secs(20);

/// The order in which a process stops: each stage finishes before the next is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// What accepts requests and needs the services to answer them.
    Edge,
    /// What answers requests and needs storage.
    Services,
    /// What carries messages to the consumers, which acknowledge them.
    Relays,
    /// Everything else.
    Last,
}

type Ended = (&'static str, anyhow::Result<()>);

#[derive(Debug, Default)]
struct Tasks {
    stop: CancellationToken,
    running: JoinSet<Ended>,
}

/// The tasks of a process.
#[derive(Debug, Default)]
pub struct Lifecycle {
    /// By [`Stage`].
    stages: [Tasks; 4],
}

impl Lifecycle {
    /// A process without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that must live until its stage is asked to stop: the token that it is given is cancelled then, and it
    /// finishes what it has begun.
    pub fn spawn<F>(&mut self, stage: Stage, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let tasks = &mut self.stages[stage as usize];
        let running = task(tasks.stop.clone());
        tasks.running.spawn(async move { (name, running.await) });
    }

    /// Runs until SIGTERM or SIGINT, then stops; a second signal or the end of [`GRACE`] ends what is still running.
    ///
    /// # Errors
    /// A task that died, or one that did not finish in time.
    pub async fn run(self, mut signals: Signals) -> anyhow::Result<()> {
        let (stop, hurry) = (CancellationToken::new(), CancellationToken::new());
        let (soft, hard) = (stop.clone(), hurry.clone());
        let watcher = tokio::spawn(async move {
            signals.next().await;
            soft.cancel();
            signals.next().await;
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
            error = self.died() => Some(error),
        };
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

    /// The first task that ends although nothing was asked to stop.
    async fn died(&mut self) -> anyhow::Error {
        let [edge, services, relays, last] = &mut self.stages;
        let ended = tokio::select! {
            Some(ended) = edge.running.join_next() => ended,
            Some(ended) = services.running.join_next() => ended,
            Some(ended) = relays.running.join_next() => ended,
            Some(ended) = last.running.join_next() => ended,
            else => return std::future::pending().await,
        };
        too_early(ended)
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        for tasks in &mut self.stages {
            tasks.stop.cancel();
            while let Some(ended) = tasks.running.join_next().await {
                let (name, outcome) = ended.context("a task panicked while stopping")?;
                outcome.with_context(|| format!("task {name} failed while stopping"))?;
            }
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
    use std::{
        future::{pending, ready},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[tokio::test]
    async fn a_dead_task_ends_the_process() {
        let mut life = Lifecycle::new();
        life.spawn(Stage::Edge, "healthy", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        life.spawn(Stage::Last, "sick", |_| async { Err(anyhow!("no pulse")) });
        let error = life.run_until(pending(), pending()).await.expect_err("the process must end");
        assert_eq!(format!("{error:#}"), "task sick died: no pulse");
    }

    #[tokio::test]
    async fn stages_stop_one_after_the_other() {
        let mut life = Lifecycle::new();
        let ended = Arc::new(Mutex::new(Vec::new()));
        for (stage, name) in [
            (Stage::Last, "last"),
            (Stage::Relays, "relay"),
            (Stage::Services, "service"),
            (Stage::Edge, "edge"),
        ] {
            let ended = Arc::clone(&ended);
            life.spawn(stage, name, |stop| async move {
                stop.cancelled().await;
                // Whoever stops too early overtakes the others while this one yields.
                tokio::task::yield_now().await;
                ended.lock().expect("no task panics").push(name);
                Ok(())
            });
        }
        life.run_until(ready(()), pending()).await.expect("every task finished");
        assert_eq!(*ended.lock().expect("no task panics"), ["edge", "service", "relay", "last"]);
    }

    #[tokio::test]
    async fn a_second_request_does_not_wait() {
        let mut life = Lifecycle::new();
        life.spawn(Stage::Edge, "stuck", |_| pending());
        life.run_until(ready(()), ready(())).await.expect_err("the task is still stuck");
    }
}
