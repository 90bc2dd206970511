//! Attempts at parts of what was received, one after another.

use std::{sync::Arc, time::Duration};

use storage::Failure;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    part::{Next, Part, Suspects},
    progress::{Line, Progress},
    subscribed::Subscribed,
};
use crate::{health, observe, retry::Backoff};

/// Between two attempts at what waits apart, at most: so late it is applied once nobody is in its way.
const APART_AGAIN: Duration = Duration::from_millis(500);

/// Attempts at the messages of one source, one part after another, with their progress.
pub(super) struct Attempts<'c> {
    pub(super) shared: &'c Arc<Subscribed>,
    pub(super) health: &'c health::Part,
    pub(super) progress: Progress<'c>,
    suspects: Suspects,
    pub(super) stop: &'c CancellationToken,
}

/// What an attempt at a part has come to.
pub(super) enum Attempted {
    Done,
    Failed(Next),
}

impl<'c> Attempts<'c> {
    /// `doubted` when the subscription before this one was lost at once, so that its part does not show `ok` yet.
    pub(super) fn new(
        shared: &'c Arc<Subscribed>,
        health: &'c health::Part,
        doubted: bool,
        stop: &'c CancellationToken,
    ) -> Self {
        let (progress, suspects) = (Progress::new(health, doubted), Suspects::default());
        Self { shared, health, progress, suspects, stop }
    }

    pub(super) fn consumer(&self) -> &str {
        &self.shared.subscription.consumer
    }

    /// Applies or parks the messages of one key, while the rest of the partition goes on; `false` when the stop came before.
    pub(super) async fn settle_apart(&self, part: Part) -> bool {
        let (mut line, mut backoff) = (self.progress.line(), Backoff::up_to(APART_AGAIN));
        let (mut parts, mut first) = (vec![part], true);
        while let Some(part) = parts.pop() {
            let permits = if first { &self.shared.permits.first } else { &self.shared.permits.again };
            let permit = tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                permit = permits.acquire() => permit,
            };
            let attempted = self.attempt(&part, first, &mut line).await;
            drop(permit);
            first = false;
            let Attempted::Failed(next) = attempted else {
                backoff.reset();
                continue;
            };
            parts.extend(next.parts);
            if next.pause && self.rest(&mut backoff).await.is_none() {
                return false;
            }
        }
        true
    }

    pub(super) async fn attempt(&self, part: &Part, briefly: bool, line: &mut Line<'_>) -> Attempted {
        match line.watch(self.shared.apply(part, briefly)).await {
            Ok(()) => {
                line.made();
                self.progress.count(part.deliveries.len());
                if part.fault.is_none() {
                    self.suspects.clear(&part.deliveries);
                }
                Attempted::Done
            }
            Err(failure) => self.failed(part.clone(), &failure, line),
        }
    }

    fn failed(&self, part: Part, failure: &Failure, line: &mut Line<'_>) -> Attempted {
        let size = part.deliveries.len();
        let next = part.after(failure, &self.suspects);
        let first = line.failed(failure, next.refused);
        // Others of its key fail as often as they are tried, for as long as somebody holds what they need: the part of the health says so.
        observe::batch_failed(self.consumer(), size, failure, first);
        Attempted::Failed(next)
    }

    /// `None` when the stop came before the end of the pause.
    pub(super) async fn rest(&self, backoff: &mut Backoff) -> Option<()> {
        tokio::select! {
            () = sleep(backoff.delay()) => Some(()),
            () = self.stop.cancelled() => None,
        }
    }
}
