//! Publishing the outbox window by window, as long as the lease is held and the connection lasts.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use storage::{Database, Failure, failpoint, lease::Lease};
use tokio_util::sync::CancellationToken;

use super::{
    Relay, pause,
    window::{self, Settlement, Step, TAKEN, WINDOW},
};
use crate::{
    broker::{Outcome, Publisher},
    envelope::Envelope,
    health::Cause,
    observe, outbox,
    pauses::Paused,
    retry::{self, Backoff},
};

/// How soon an unroutable message is tried again; a queue may have been bound.
const UNROUTABLE: Duration = Duration::from_secs(1);
/// Rows whose removal is left to the next look at the outbox, at most: it has to compare what it finds with each of them.
const CARRIED: usize = 100;
/// How long that look waits for the next message, which calls for it anyhow.
const CARRYING: Duration = Duration::from_millis(20);

/// What was postponed until a consumer resumes: whether one has, since such messages were let go last.
#[derive(Debug, Default)]
struct Postponed {
    resumed: bool,
}

impl Postponed {
    /// A consumer has resumed.
    const fn may_leave(&mut self) {
        self.resumed = true;
    }

    /// Lets it leave, if it may; as long as that fails, it is still to be done.
    async fn leave(&mut self, database: &Database) -> Result<(), Failure> {
        if self.resumed {
            outbox::release(database, retry::now()).await?;
            self.resumed = false;
        }
        Ok(())
    }
}

impl Relay {
    pub(super) async fn publish(&self, lease: &Lease, stop: &CancellationToken) {
        let (mut backoff, mut doubted) = (Backoff::new(), false);
        while !stop.is_cancelled() {
            if let Some(paused) = self.pauses.of_relay() {
                self.wait_out(paused, stop).await;
                continue;
            }
            let connected = tokio::select! {
                connected = self.broker.publisher() => connected,
                () = self.pauses.relay_changes(None) => continue,
                () = stop.cancelled() => return,
            };
            match connected {
                Ok(publisher) => {
                    observe::connected("relay", &self.source);
                    if !doubted {
                        self.part.ok();
                    }
                    // A connection that takes nothing is no cure, however quickly it is there.
                    doubted = !self.publish_until_lost(publisher, lease, stop).await;
                    if !doubted {
                        backoff.reset();
                    }
                }
                Err(error) => self.part.broker_failed(&error),
            }
            tokio::select! {
                () = pause(backoff.delay(), stop) => {}
                () = self.pauses.relay_changes(None) => {}
            }
        }
    }

    /// Publishes nothing, without a connection. What is written meanwhile stays in the outbox.
    async fn wait_out(&self, paused: Paused, stop: &CancellationToken) {
        self.part.paused(paused.clone());
        tokio::select! {
            () = self.pauses.relay_changes(Some(&paused)) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Publishes until the connection is lost, the relay is paused, or the stop. Whether the connection was of any use.
    async fn publish_until_lost(
        &self,
        mut publisher: Box<dyn Publisher>,
        lease: &Lease,
        stop: &CancellationToken,
    ) -> bool {
        let (mut backoff, mut confirmed) = (Backoff::new(), Vec::new());
        // Whether it was of use at all, and whether it was shown as that since the last failure.
        let (mut useful, mut shown) = (false, false);
        let mut postponed = Postponed::default();
        while !stop.is_cancelled() && self.pauses.of_relay().is_none() {
            // With much to do nothing is waited for below.
            if publisher.resumed().now_or_never().is_some() {
                postponed.may_leave();
            }
            let stepped = match postponed.leave(&self.database).await {
                Ok(()) => self.step(publisher.as_mut(), lease, &mut confirmed).await,
                Err(failure) => Err(failure),
            };
            let rest = match stepped {
                Ok(Step::More) => None,
                Ok(Step::Published) => Some(CARRYING),
                Ok(Step::Idle) => Some(Duration::MAX),
                Ok(Step::Postponed) => Some(UNROUTABLE),
                Ok(Step::Lost(reason)) => {
                    self.part.degraded(Cause::Broker, format!("the publisher was lost: {reason}"));
                    break;
                }
                Err(failure) => {
                    self.outbox_failed(&failure);
                    shown = false;
                    pause(backoff.delay(), stop).await;
                    continue;
                }
            };
            useful = true;
            if !std::mem::replace(&mut shown, true) {
                self.part.ok();
            }
            backoff.reset();
            let Some(rest) = rest else { continue };
            tokio::select! {
                () = self.outbox.woken() => {}
                () = self.waiting.notified() => {}
                () = publisher.resumed() => postponed.may_leave(),
                () = tokio::time::sleep(rest) => {}
                () = self.pauses.relay_changes(None) => {}
                () = stop.cancelled() => {}
            }
        }
        if let Err(failure) = outbox::remove(&self.database, &confirmed).await {
            observe::storage_failed("relay", &failure);
        }
        useful
    }

    async fn publish_window(&self, publisher: &mut dyn Publisher, window: &[Envelope]) -> Vec<Outcome> {
        let began = Instant::now();
        let spans = observe::publishing(&self.source, window);
        failpoint::at("relay.before_publish");
        let outcomes = publisher.publish(window).await;
        failpoint::at("relay.confirmed");
        drop(spans);
        let taken_over = window::confirmed(window, &outcomes);
        observe::window_published(&self.source, window, &outcomes, &taken_over, began.elapsed());
        self.dead.fetch_add(taken_over.len() as u64, Relaxed);
        self.part.count(taken_over.len());
        observe::refused(&self.source, window, &outcomes);
        outcomes
    }

    /// Takes what is due, publishes it window by window and settles each while the next is under way. What was `confirmed` last is left
    /// to the next look at the outbox, which comes soon.
    async fn step(
        &self,
        publisher: &mut dyn Publisher,
        lease: &Lease,
        confirmed: &mut Vec<i64>,
    ) -> Result<Step, Failure> {
        let most = self.database.batch(TAKEN);
        let rows = outbox::take(&self.database, confirmed, retry::now(), most as u64).await?;
        if !confirmed.is_empty() {
            failpoint::at("relay.settled");
        }
        confirmed.clear();
        if rows.is_empty() {
            return Ok(Step::Idle);
        }
        let (more, mut end) = (rows.len() == most, None);
        let (tickets, messages) = window::open(rows, &self.source);
        let mut unsettled = Settlement::default();
        let window = self.database.batch(WINDOW);
        for (tickets, window) in tickets.chunks(window).zip(messages.chunks(window)) {
            if lease.remaining() <= self.margin() || self.pauses.of_relay().is_some() {
                // Time has passed: whoever keeps the lease says so in a moment. Or somebody has paused it.
                end = Some(Step::Postponed);
                break;
            }
            let settling = window::settle(&self.database, std::mem::take(&mut unsettled), UNROUTABLE);
            if failpoint::planted("settle_before_confirm") {
                let all = Settlement::of(tickets, vec![Outcome::Confirmed; window.len()]);
                window::settle(&self.database, all, UNROUTABLE).await?;
            }
            let (outcomes, settled) = tokio::join!(self.publish_window(publisher, window), settling);
            unsettled = Settlement::of(tickets, outcomes);
            // What was not settled is published again, which does no harm, and behind nothing of its key.
            settled?;
            end = Step::after(&unsettled);
            if end.is_some() {
                break;
            }
        }
        // What may have held back others has to be gone before the look that finds those.
        let carried = end.is_none() && !unsettled.released && unsettled.confirmed.len() <= CARRIED;
        if carried {
            *confirmed = std::mem::take(&mut unsettled.confirmed);
        }
        window::settle(&self.database, unsettled, UNROUTABLE).await?;
        Ok(end.unwrap_or(if carried && !more { Step::Published } else { Step::More }))
    }
}
