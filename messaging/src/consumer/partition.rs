//! One source of a consumer while it is subscribed: what is received is applied or parked, and then acknowledged.

use std::{sync::Arc, time::Duration};

use storage::Failure;
use tokio::{pin, sync::Semaphore, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    BATCH, Shared,
    apart::Apart,
    part::{self, Next, Part, Suspects},
    progress::{Line, Progress},
};
use crate::{
    broker::{BrokerError, Inflow},
    health, observe,
    retry::Backoff,
};

/// A subscription that has lasted for so long is one, even when nothing has come: longer than any pause before the next.
const LASTING: Duration = Duration::from_secs(6);
/// Between two attempts at what waits apart, at most: so late it is applied once nobody is in its way.
const APART_AGAIN: Duration = Duration::from_millis(500);
/// Attempts at what waits apart at a time, of all partitions of a consumer: the first ones, which do not wait for the others, and those.
const AT_FIRST: usize = 3;
const AGAIN: usize = 2;

/// How many attempts there may be at what waits apart.
pub(super) struct Permits {
    first: Semaphore,
    again: Semaphore,
}

impl Permits {
    pub(super) fn new() -> Self {
        Self { first: Semaphore::new(AT_FIRST), again: Semaphore::new(AGAIN) }
    }
}

/// One source of a consumer.
pub(super) struct Partition<'c> {
    shared: &'c Arc<Shared>,
    /// That of its part in [`health::Health`].
    pub(super) name: String,
    progress: Progress<'c>,
    suspects: Suspects,
    stop: &'c CancellationToken,
}

/// What an attempt at a part has come to.
enum Attempted {
    Done,
    Failed(Next),
}

impl<'c> Partition<'c> {
    /// `doubted` when the subscription before this one was lost at once, so that its part does not show `ok` yet.
    pub(super) fn new(
        shared: &'c Arc<Shared>,
        name: String,
        health: &'c health::Part,
        doubted: bool,
        stop: &'c CancellationToken,
    ) -> Self {
        let (progress, suspects) = (Progress::new(health, doubted), Suspects::default());
        Self { shared, name, progress, suspects, stop }
    }

    pub(super) fn consumer(&self) -> &str {
        &self.shared.subscription.consumer
    }

    /// Consumes until the connection is lost, or until the stop. Also returns whether the subscription was of any use.
    pub(super) async fn consume(&self, mut inflow: Box<dyn Inflow>) -> (bool, Result<(), BrokerError>) {
        let mut useful = false;
        let ended = self.consume_from(inflow.as_mut(), &mut useful).await;
        (useful, ended)
    }

    async fn consume_from(&self, inflow: &mut dyn Inflow, useful: &mut bool) -> Result<(), BrokerError> {
        let most = self.shared.database.batch(BATCH);
        let (mut line, mut apart) = (self.progress.line(), Apart::new(self));
        let lasting = sleep(LASTING);
        pin!(lasting);
        while !self.stop.is_cancelled() {
            let batch = tokio::select! {
                settled = apart.settled(), if !apart.is_empty() => {
                    inflow.ack(&settled).await?;
                    continue;
                }
                batch = inflow.receive(most), if !apart.is_full() => batch?,
                () = &mut lasting, if !*useful => {
                    *useful = true;
                    self.progress.proven();
                    continue;
                }
                () = self.stop.cancelled() => break,
            };
            observe::batch_received(self.consumer(), &batch);
            let Some(last) = batch.last().map(|delivery| delivery.tag) else { continue };
            let Some(done) = self.settle(part::cut(batch), &mut line, &mut apart).await else { break };
            // What waits apart must not be acknowledged together with what came behind it.
            if apart.is_empty() {
                inflow.ack_through(last).await?;
            } else {
                inflow.ack(&done).await?;
            }
            if !std::mem::replace(useful, true) {
                self.progress.proven();
            }
        }
        // Attempts under way are finished, and no others begun.
        while !apart.is_empty() {
            inflow.ack(&apart.settled().await).await?;
        }
        Ok(())
    }

    /// Applies or parks the messages of parts, the first of which is on top, unless they wait apart; returns the tags of those that do not,
    /// and of those that have waited apart until now. `None` when the stop came before.
    async fn settle(
        &self,
        mut parts: Vec<Part>,
        line: &mut Line<'_>,
        apart: &mut Apart<'_>,
    ) -> Option<Vec<u64>> {
        let (mut backoff, mut done) = (Backoff::new(), Vec::new());
        while let Some(part) = parts.pop() {
            let part = apart.hold_back(part);
            if part.deliveries.is_empty() {
                continue;
            }
            let next = match self.attempt(&part, false, line).await {
                Attempted::Done => {
                    backoff.reset();
                    done.extend(part.tags());
                    continue;
                }
                Attempted::Failed(next) => next,
            };
            if let Some(part) = next.apart {
                line.made();
                apart.take(&part);
            }
            parts.extend(next.parts);
            if next.pause {
                self.rest_beside(&mut backoff, apart, &mut done).await?;
            }
        }
        Some(done)
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

    async fn attempt(&self, part: &Part, briefly: bool, line: &mut Line<'_>) -> Attempted {
        match line.watch(self.shared.apply(part, briefly)).await {
            Ok(()) => {
                line.made();
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
    async fn rest(&self, backoff: &mut Backoff) -> Option<()> {
        tokio::select! {
            () = sleep(backoff.delay()) => Some(()),
            () = self.stop.cancelled() => None,
        }
    }

    /// The same, while what waits apart goes on: others of the consumer wait for its permits.
    async fn rest_beside(
        &self,
        backoff: &mut Backoff,
        apart: &mut Apart<'_>,
        done: &mut Vec<u64>,
    ) -> Option<()> {
        let rest = self.rest(backoff);
        pin!(rest);
        loop {
            tokio::select! {
                rested = &mut rest => return rested,
                settled = apart.settled(), if !apart.is_empty() => done.extend(settled),
            }
        }
    }
}
