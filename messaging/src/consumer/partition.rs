//! One source of a consumer while it is subscribed: what is received is applied or parked, and then acknowledged.

use std::time::Duration;

use storage::failpoint;
use tokio::{pin, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    apart::Apart,
    attempts::{Attempted, Attempts},
    part::{self, Part},
    progress::Line,
};
use crate::{
    broker::{BrokerError, Inflow},
    observe,
    retry::Backoff,
};

/// Messages of one transaction at most.
const BATCH: usize = 200;
/// A subscription that has lasted for so long is one, even when nothing has come: longer than any pause before the next.
const LASTING: Duration = Duration::from_secs(6);

/// One source of a consumer.
pub(super) struct Partition<'c> {
    pub(super) attempts: Attempts<'c>,
    /// Its number, unless it is where the broker's dead letters wait.
    pub(super) number: Option<u16>,
    /// When it is paused: the broker delivers nothing more, and what it has delivered is handled.
    pub(super) drain: &'c CancellationToken,
}

impl Partition<'_> {
    /// Consumes until the connection is lost, until nothing more comes of what is drained, or until the stop. Also returns whether the subscription was of any use.
    pub(super) async fn consume(&self, mut inflow: Box<dyn Inflow>) -> (bool, Result<(), BrokerError>) {
        let mut useful = false;
        let ended = self.consume_from(inflow.as_mut(), &mut useful).await;
        (useful, ended)
    }

    async fn consume_from(&self, inflow: &mut dyn Inflow, useful: &mut bool) -> Result<(), BrokerError> {
        let most = self.attempts.shared.database.batch(BATCH);
        let (mut line, mut apart) = (self.attempts.progress.line(), Apart::new(&self.attempts));
        let (mut begun, mut draining, mut drained) = (false, false, false);
        let lasting = sleep(LASTING);
        pin!(lasting);
        while !self.attempts.stop.is_cancelled() && (!drained || !apart.is_empty()) {
            let batch = tokio::select! {
                settled = apart.settled(), if !apart.is_empty() => {
                    inflow.ack(&settled).await?;
                    continue;
                }
                batch = inflow.receive(most), if !apart.is_full() && !drained => batch?,
                () = self.drain.cancelled(), if !draining => {
                    inflow.cancel().await?;
                    draining = true;
                    continue;
                }
                () = &mut lasting, if !*useful => {
                    *useful = true;
                    self.attempts.progress.proven();
                    continue;
                }
                () = self.attempts.stop.cancelled() => break,
            };
            observe::batch_received(self.attempts.consumer(), &batch);
            failpoint::at("consumer.received");
            let Some(last) = batch.last().map(|delivery| delivery.tag) else {
                drained = draining;
                continue;
            };
            if !std::mem::replace(&mut begun, true) && !self.attempts.shared.takes_over(self.number).await {
                return Ok(());
            }
            if failpoint::planted("ack_before_commit") {
                inflow.ack_through(last).await?;
            }
            let Some(done) = self.settle(part::cut(batch), &mut line, &mut apart).await else { break };
            failpoint::at("consumer.before_ack");
            // What waits apart must not be acknowledged together with what came behind it.
            if apart.is_empty() {
                inflow.ack_through(last).await?;
            } else {
                inflow.ack(&done).await?;
            }
            failpoint::at("consumer.acknowledged");
            if !std::mem::replace(useful, true) {
                self.attempts.progress.proven();
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
            let next = match self.attempts.attempt(&part, false, line).await {
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

    /// The same, while what waits apart goes on: others of the consumer wait for its permits.
    async fn rest_beside(
        &self,
        backoff: &mut Backoff,
        apart: &mut Apart<'_>,
        done: &mut Vec<u64>,
    ) -> Option<()> {
        let rest = self.attempts.rest(backoff);
        pin!(rest);
        loop {
            tokio::select! {
                rested = &mut rest => return rested,
                settled = apart.settled(), if !apart.is_empty() => done.extend(settled),
            }
        }
    }
}
