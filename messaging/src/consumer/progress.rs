//! Whether a partition gets on: what is tried for too long is told where it can be read.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use storage::Failure;

use crate::{health, observe};

/// How long a part of a batch may take, with all attempts at it, until that is told: longer than a database that fails over within its
/// own limits, shorter than the patience of who waits for the effect.
const STALLED: Duration = Duration::from_secs(10);

/// The progress of one partition.
pub(super) struct Progress<'h> {
    health: &'h health::Part,
    /// When the first of its failures in a row was.
    since: Option<Instant>,
    told: bool,
}

impl<'h> Progress<'h> {
    pub(super) const fn new(health: &'h health::Part) -> Self {
        Self { health, since: None, told: false }
    }

    /// Waits for an attempt, and tells when that takes too long.
    pub(super) async fn watch<T>(&mut self, attempt: impl Future<Output = T>) -> T {
        let mut attempt = pin!(attempt);
        match tokio::time::timeout(STALLED, &mut attempt).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                self.told = true;
                self.health.degraded(format!("the database has not committed a batch for {STALLED:?}"));
                attempt.await
            }
        }
    }

    /// An attempt has failed, and another is to come.
    pub(super) fn failed(&mut self, failure: &Failure) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= STALLED {
            self.told = true;
            self.health.degraded(observe::chain(failure));
        }
    }

    /// The database refuses what is to be parked: only somebody who acts can change that.
    pub(super) fn refused(&mut self, failure: &Failure) {
        self.told = true;
        self.health.failed(format!("a message cannot be parked: {}", observe::chain(failure)));
    }

    /// Something was committed.
    pub(super) fn made(&mut self) {
        self.since = None;
        if std::mem::take(&mut self.told) {
            self.health.ok();
        }
    }
}
