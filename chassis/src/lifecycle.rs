//! The life of a process: its tasks, and the stop that lets them finish stage by stage and cuts what does not.
//!
//! No task may die alone: one that ends before the stop, by an error or by a panic, ends the process, loudly.

use std::{
    borrow::Cow,
    future::{Future, pending},
    pin::{Pin, pin},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use tokio::{
    task::{AbortHandle, JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{background, signals::Signals};

#[cfg(test)]
mod tests;

/// How long a stop takes at most: the notice and the budgets of all stages are less than this together.
pub const GRACE: Duration = Duration::from_secs(20);
/// How long a process that is no longer ready still accepts: callers that watch its health go elsewhere before a listener closes.
pub const NOTICE: Duration = Duration::from_millis(200);
/// The budget of each stage after a second signal: time to give back a lease, not to wait for anybody.
const HURRIED: Duration = Duration::from_millis(500);
/// How long a task that was cut has to let go; one that blocks its thread cannot be cut.
const CUT: Duration = Duration::from_millis(200);

/// The order in which a process stops: each stage finishes, or is cut, before the next is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// What accepts requests and needs the services to answer them.
    Edge,
    /// What answers requests and needs storage.
    Services,
    /// What commits for the services: it ends when nobody can ask it any more.
    Writers,
    /// What carries messages to the consumers, which acknowledge them.
    Relays,
    /// What nobody waits for.
    Last,
    /// What shows an operator how the stop goes.
    Operator,
}

impl Stage {
    /// Every stage, in the order of the stop.
    pub const ALL: [Self; 6] =
        [Self::Edge, Self::Services, Self::Writers, Self::Relays, Self::Last, Self::Operator];

    /// How long its tasks may take to finish what they began.
    #[must_use]
    pub const fn budget(self) -> Duration {
        Duration::from_millis(match self {
            // Its requests wait for the services, and a WebSocket has 5 s for its close.
            Self::Edge => 6_000,
            // Requests take milliseconds; one that waits for a lock is answered within the lock's 5 s in most cases.
            Self::Services => 5_000,
            // The last group's transaction.
            Self::Writers => 1_500,
            // A window under way is settled, then the lease is given back.
            Self::Relays => 3_500,
            // A batch under way; one that is cut is delivered again.
            Self::Last => 2_000,
            // An answer to a probe.
            Self::Operator => 500,
        })
    }
}

const _: () = {
    let (mut sum, mut stage) = (NOTICE.as_millis(), 0);
    while stage < Stage::ALL.len() {
        sum += Stage::ALL[stage].budget().as_millis();
        stage += 1;
    }
    assert!(sum < GRACE.as_millis(), "the stages need more than the grace period");
};

type Name = Cow<'static, str>;
type Ended = (Name, anyhow::Result<()>);

#[derive(Debug, Default)]
struct Tasks {
    stop: CancellationToken,
    running: JoinSet<Ended>,
    names: Vec<(Name, AbortHandle)>,
}

/// The tasks of a process.
#[derive(Debug, Default)]
pub struct Lifecycle {
    /// By [`Stage`].
    stages: [Tasks; Stage::ALL.len()],
    stopping: CancellationToken,
    hurrying: CancellationToken,
}

impl Lifecycle {
    /// A process without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that must live until its stage is asked to stop: the token that it is given is cancelled then, and it
    /// finishes what it has begun. What it does not finish within [`Stage::budget`] is dropped.
    pub fn spawn<F>(&mut self, stage: Stage, name: impl Into<Name>, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let tasks = &mut self.stages[stage as usize];
        let (name, running) = (name.into(), task(tasks.stop.clone()));
        let ending = name.clone();
        let handle = tasks.running.spawn(async move {
            let ended = background::unless_it_panics(running).await;
            (ending, ended.unwrap_or_else(|| Err(anyhow!("it panicked"))))
        });
        tasks.names.push((name, handle));
    }

    /// Cancelled as soon as the process begins to stop, [`NOTICE`] before the first stage is asked to.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Cancelled with the second signal: from then on nobody is waited for.
    #[must_use]
    pub fn hurrying(&self) -> CancellationToken {
        self.hurrying.clone()
    }

    /// Runs until SIGTERM or SIGINT, then stops; a second signal cuts what is still running.
    ///
    /// # Errors
    /// A task that died, one that failed while it stopped, or a second signal that came before every task had finished.
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

    /// Runs until `stop`, then lets the tasks finish, each stage within its budget; after `hurry` none is waited for.
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
        self.stopping.cancel();
        let hurrying = self.hurrying.clone();
        let finished = self.finish(Hurry { asked: false, signal: pin!(hurry), hurrying }).await;
        match died {
            Some(error) => Err(error),
            None => finished,
        }
    }

    /// The first task that ends although nothing was asked to stop.
    async fn died(&mut self) -> anyhow::Error {
        let [edge, services, writers, relays, last, operator] = &mut self.stages;
        let ended = tokio::select! {
            Some(ended) = edge.running.join_next() => ended,
            Some(ended) = services.running.join_next() => ended,
            Some(ended) = writers.running.join_next() => ended,
            Some(ended) = relays.running.join_next() => ended,
            Some(ended) = last.running.join_next() => ended,
            Some(ended) = operator.running.join_next() => ended,
            name = background::died() => return anyhow!("{name} panicked"),
        };
        too_early(ended)
    }

    /// Every stage is asked to stop, whatever became of those before it. The first failure is what the process ends with.
    async fn finish<H: Future<Output = ()>>(&mut self, mut hurry: Hurry<'_, H>) -> anyhow::Result<()> {
        hurry.within(NOTICE, pending::<()>()).await;
        let mut outcome = Ok(());
        for (stage, tasks) in Stage::ALL.into_iter().zip(&mut self.stages) {
            tasks.stop.cancel();
            if hurry.within(stage.budget(), tasks.finished(&mut outcome)).await.is_none() {
                tasks.cut(stage);
                if hurry.asked && outcome.is_ok() {
                    outcome = Err(anyhow!("ended before every task had finished: asked twice"));
                }
                let _blocks_its_thread = timeout(CUT, tasks.running.shutdown()).await;
            }
        }
        outcome
    }
}

impl Tasks {
    /// Waits for all of them; the first failure of the stop goes into `outcome`, and each into the log.
    async fn finished(&mut self, outcome: &mut anyhow::Result<()>) {
        while let Some(ended) = self.running.join_next().await {
            let ended = ended.context("a task was cut while stopping").and_then(|(name, ended)| {
                ended.with_context(|| format!("task {name} failed while stopping"))
            });
            if let Err(error) = ended {
                tracing::error!(error = format!("{error:#}"), "the stop goes on without a task");
                if outcome.is_ok() {
                    *outcome = Err(error);
                }
            }
        }
    }

    /// Ends those that still run.
    fn cut(&mut self, stage: Stage) {
        for (task, handle) in self.names.iter().filter(|(_, handle)| !handle.is_finished()) {
            tracing::warn!(task = &**task, ?stage, "a task did not finish in time: it is cut");
            handle.abort();
        }
    }
}

/// Whether the stop was asked for a second time.
struct Hurry<'h, H> {
    asked: bool,
    signal: Pin<&'h mut H>,
    hurrying: CancellationToken,
}

impl<H: Future<Output = ()>> Hurry<'_, H> {
    /// What comes of `task` within `budget`, which is short from the second signal on.
    async fn within<T>(&mut self, budget: Duration, task: impl Future<Output = T>) -> Option<T> {
        let mut task = pin!(task);
        if !self.asked {
            tokio::select! {
                biased;
                done = task.as_mut() => return Some(done),
                () = self.signal.as_mut() => self.asked = true,
                () = sleep(budget) => return None,
            }
            self.hurrying.cancel();
        }
        timeout(budget.min(HURRIED), task).await.ok()
    }
}

fn too_early(ended: Result<Ended, JoinError>) -> anyhow::Error {
    match ended {
        Ok((name, Ok(()))) => anyhow!("task {name} ended by itself"),
        Ok((name, Err(error))) => error.context(format!("task {name} died")),
        Err(error) => anyhow::Error::new(error).context("a task was cut"),
    }
}
