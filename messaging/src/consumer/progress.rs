//! Whether a partition gets on: what is tried for too long is shown where it can be read, whichever of its lines that is.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use storage::Failure;

use crate::{
    health::{self, Cause},
    observe,
};

/// How long a part of a batch may take, with all attempts at it, until that is shown: longer than a database that fails over within its
/// own limits, shorter than the patience of who waits for the effect.
const STALLED: Duration = Duration::from_secs(10);

/// The progress of one partition.
pub(super) struct Progress<'h> {
    health: &'h health::Part,
    // Taken when a line fails, and when one that has failed gets on.
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    failing: BTreeMap<u64, Failing>,
    begun: u64,
    /// Another state than `ok` is shown.
    shown: bool,
}

struct Failing {
    since: Instant,
    cause: Cause,
    reason: String,
    /// Only somebody who acts can change that.
    refused: bool,
}

/// What is done one by one: the batches of a partition, or the messages of a key that waits apart from them.
pub(super) struct Line<'p> {
    progress: &'p Progress<'p>,
    number: u64,
    failing: bool,
}

impl<'h> Progress<'h> {
    /// `shown` when the part shows another state than `ok`.
    pub(super) fn new(health: &'h health::Part, shown: bool) -> Self {
        Self { health, lines: Mutex::new(Lines { shown, ..Lines::default() }) }
    }

    /// A line that begins.
    pub(super) fn line(&self) -> Line<'_> {
        let mut lines = self.lines();
        lines.begun += 1;
        Line { progress: self, number: lines.begun, failing: false }
    }

    /// Something was acknowledged, or the connection has lasted.
    pub(super) fn proven(&self) {
        self.show(&mut self.lines());
    }

    /// So many messages were handled.
    pub(super) fn count(&self, messages: usize) {
        self.health.count(messages);
    }

    fn show(&self, lines: &mut Lines) {
        let Lines { failing, shown, .. } = lines;
        if let Some(refused) = failing.values().find(|line| line.refused) {
            *shown = true;
            let reason = format!("a message cannot be parked: {}", refused.reason);
            return self.health.failed(refused.cause, reason);
        }
        let oldest = failing.values().min_by_key(|line| line.since);
        if let Some(oldest) = oldest.filter(|line| line.since.elapsed() >= STALLED) {
            *shown = true;
            let others = match failing.len() - 1 {
                0 => String::new(),
                others => format!(" (and {others} others wait)"),
            };
            return self.health.degraded(oldest.cause, format!("{}{others}", oldest.reason));
        }
        if std::mem::take(shown) {
            self.health.ok();
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line<'_> {
    /// Waits for an attempt, and shows when that takes too long.
    pub(super) async fn watch<T>(&mut self, attempt: impl Future<Output = T>) -> T {
        let (began, mut attempt) = (Instant::now(), pin!(attempt));
        match tokio::time::timeout(STALLED, &mut attempt).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                let reason = format!("the database has not committed a batch for {STALLED:?}");
                // As long as it waits for a lock nothing else is known of the database.
                self.fails(Failing { since: began, cause: Cause::Messages, reason, refused: false });
                attempt.await
            }
        }
    }

    /// An attempt has failed, and another is to come. Returns whether it is the first one to fail.
    pub(super) fn failed(&mut self, failure: &Failure, refused: bool) -> bool {
        let first = !self.failing;
        let (since, cause, reason) = (Instant::now(), Cause::of(failure), observe::chain(failure));
        self.fails(Failing { since, cause, reason, refused });
        first
    }

    fn fails(&mut self, now: Failing) {
        self.failing = true;
        let mut lines = self.progress.lines();
        let since = lines.failing.get(&self.number).map_or(now.since, |before| before.since);
        lines.failing.insert(self.number, Failing { since, ..now });
        self.progress.show(&mut lines);
    }

    /// Something was committed.
    pub(super) fn made(&mut self) {
        if std::mem::take(&mut self.failing) {
            let mut lines = self.progress.lines();
            lines.failing.remove(&self.number);
            self.progress.show(&mut lines);
        }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // Its connection is lost, and what it says is said again by the next one; or others go on with what it has failed at.
        if self.failing {
            self.progress.lines().failing.remove(&self.number);
        }
    }
}
