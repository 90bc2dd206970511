//! Readiness: what this process can do for its callers at present, part by part.
//!
//! What needs I/O is checked once a second in the background, each part within a bound and all at the same time, so probes cost the
//! database nothing and are answered at once, whatever hangs.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, join_all};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::lifecycle::{Lifecycle, Stage};

/// Between two checks: so late a probe learns of a change.
const PERIOD: Duration = Duration::from_secs(1);
/// A part that has not answered by then has failed. A pool whose connections are all busy may take a moment.
const LIMIT: Duration = Duration::from_secs(2);
/// How long the first probe waits for the first check; probes have a second.
const FIRST: Duration = Duration::from_millis(800);

/// How a part of the process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It does its work.
    Ok,
    /// It does not do all of its work, for this reason.
    Degraded(String),
    /// It does not work, for this reason.
    Failed(String),
    /// Somebody has paused it, for this reason: nothing is wrong with it.
    Paused(String),
}

impl State {
    /// The state in a word, as `/readyz` spells it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded(_) => "degraded",
            Self::Failed(_) => "failed",
            Self::Paused(_) => "paused",
        }
    }

    /// Why it is not [`State::Ok`].
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Ok => None,
            Self::Degraded(reason) | Self::Failed(reason) | Self::Paused(reason) => Some(reason),
        }
    }
}

impl From<Result<(), String>> for State {
    fn from(checked: Result<(), String>) -> Self {
        checked.map_or_else(Self::Failed, |()| Self::Ok)
    }
}

/// A part of the process that may not work.
pub struct Part {
    name: String,
    essential: bool,
    check: Check,
}

type Named = Vec<(String, State)>;

enum Check {
    /// With I/O.
    Asked(Box<dyn Fn() -> BoxFuture<'static, State> + Send + Sync>),
    /// From memory, for several parts whose names begin with that of this one.
    Known(Box<dyn Fn() -> Named + Send + Sync>),
}

impl Part {
    /// A part by the name that `/readyz` calls it, and the check of it. Nobody is served while it has failed.
    pub fn new<F>(name: impl Into<String>, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output: Into<State>> + Send + 'static,
    {
        let asked = move || -> BoxFuture<'static, State> {
            let check = check();
            Box::pin(async move { check.await.into() })
        };
        Self { name: name.into(), essential: true, check: Check::Asked(Box::new(asked)) }
    }

    /// A part whose state is in memory: it is looked up for each probe.
    pub fn known(name: impl Into<String>, state: impl Fn() -> State + Send + Sync + 'static) -> Self {
        let known = move || vec![(String::new(), state())];
        Self { name: name.into(), essential: true, check: Check::Known(Box::new(known)) }
    }

    /// Parts whose states are in memory, each by its name behind that of the group.
    pub fn group(
        name: impl Into<String>,
        states: impl Fn() -> Vec<(String, State)> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), essential: true, check: Check::Known(Box::new(states)) }
    }

    /// Callers are served without it: it is shown, and makes nothing unready.
    #[must_use]
    pub fn behind(self) -> Self {
        Self { essential: false, ..self }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, essential, .. } = self;
        f.debug_struct("Part").field("name", name).field("essential", essential).finish_non_exhaustive()
    }
}

/// What is known of all parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Each part by its name.
    pub parts: BTreeMap<String, State>,
    /// Why nobody should call this process, if so.
    unready: bool,
}

impl Report {
    /// Whether this process does for its callers what it is there for.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        !self.unready
    }

    fn note(&mut self, part: &Part, name: String, state: State) {
        self.unready |= part.essential && matches!(state, State::Failed(_));
        self.parts.insert(name, state);
    }

    /// Another report, and this one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.unready |= other.unready;
        self.parts.extend(other.parts);
        self
    }
}

/// The readiness of one service. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: Vec<Part>,
    /// By part, of those that are asked; `None` before the first check.
    checked: watch::Sender<Vec<Option<State>>>,
    stopping: CancellationToken,
}

impl Readiness {
    /// Checks these parts from now on, until the end of the process.
    pub fn start(parts: Vec<Part>, life: &mut Lifecycle) -> Self {
        let (checked, _) = watch::channel(vec![None; parts.len()]);
        let this = Self(Arc::new(Shared { parts, checked, stopping: life.stopping() }));
        let checks = this.clone();
        life.spawn(Stage::Operator, "readiness", |stop| async move {
            tokio::select! {
                () = checks.run() => {}
                () = stop.cancelled() => {}
            }
            Ok(())
        });
        this
    }

    /// Each part at its own pace: one that hangs holds up no other.
    async fn run(&self) {
        let checks = self.0.parts.iter().enumerate().map(async |(at, part)| {
            loop {
                if let Check::Asked(check) = &part.check {
                    let state = timeout(LIMIT, check()).await.unwrap_or_else(|_| State::Failed(silent()));
                    self.0.checked.send_modify(|checked| checked[at] = Some(state));
                } else {
                    // Wakes those who watch: what is in memory is looked up as often as the rest.
                    self.0.checked.send_modify(|_| ());
                }
                self.measure();
                sleep(PERIOD).await;
            }
        });
        join_all(checks).await;
    }

    /// What is known now. It waits for the first checks after the start, for less than a second.
    pub async fn report(&self) -> Report {
        let mut checked = self.0.checked.subscribe();
        let asked = |at: usize| matches!(self.0.parts[at].check, Check::Asked(_));
        let first = checked
            .wait_for(|states| states.iter().enumerate().all(|(at, state)| state.is_some() || !asked(at)));
        let _in_time = timeout(FIRST, first).await.is_ok();
        self.now()
    }

    /// What is known now.
    #[must_use]
    pub fn now(&self) -> Report {
        let mut report = Report::default();
        for (part, state) in self.0.parts.iter().zip(self.0.checked.borrow().iter()) {
            match &part.check {
                Check::Asked(_) => {
                    let state = state.clone();
                    let state = state.unwrap_or_else(|| State::Failed("it has not answered yet".to_owned()));
                    report.note(part, part.name.clone(), state);
                }
                Check::Known(states) => {
                    for (name, state) in states() {
                        let name = [part.name.as_str(), &name].join(if name.is_empty() { "" } else { "." });
                        report.note(part, name, state);
                    }
                }
            }
        }
        report.unready |= self.is_stopping();
        report
    }

    /// Whether the process has begun to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    /// Waits until `ready` is no longer what is known.
    pub async fn changed_from(&self, ready: bool) {
        let mut checked = self.0.checked.subscribe();
        while self.now().is_ready() == ready {
            tokio::select! {
                () = self.0.stopping.cancelled(), if !self.is_stopping() => {}
                _ = checked.changed() => {}
            }
        }
    }

    fn measure(&self) {
        metrics::describe_gauge!(
            "ordermesh_part_state",
            "0 when a part does its work, 1 when it does not do all of it, 2 when it does not work, 3 when somebody has paused it"
        );
        for (part, state) in self.now().parts {
            metrics::gauge!("ordermesh_part_state", "part" => part).set(match state {
                State::Ok => 0.0,
                State::Degraded(_) => 1.0,
                State::Failed(_) => 2.0,
                State::Paused(_) => 3.0,
            });
        }
    }
}

fn silent() -> String {
    format!("it does not answer within {} s", LIMIT.as_secs())
}
