//! What was parked comes back: sent by an operator, or held until this version that knows its kind.

use std::{collections::HashSet, sync::Arc, time::Duration};

use sea_orm::DbErr;
use storage::{Failure, Outage, Reading, Transaction};
use tokio_util::sync::CancellationToken;

use super::{
    Consumer,
    handler::{AfterCommit, Deduplication, Effects, Verdict},
    lanes,
    returned::{Chosen, Returned},
    subscribed::Subscribed,
};
use crate::{
    envelope::Envelope,
    inbox, observe,
    parked::{self, Begun, Leaving, Park, State},
    retry,
};

/// How long an operator waits at most until what was redriven is tried.
const POLL: Duration = Duration::from_secs(5);
/// Looked up at a time.
const PAGE: u64 = 100;
/// For so long others may get in the way of a message until it waits for an operator again: a minute is longer than anybody holds rows as a
/// rule.
const CONTENDED: Duration = Duration::from_secs(60);

impl Consumer {
    /// Handles what comes back until `stop`, each message in a transaction of its own: it has failed before.
    pub(super) async fn redrive(&self, stop: &CancellationToken) {
        let (shared, returned) = (&self.shared, Returned::default());
        tokio::select! {
            () = shared.pauses.read() => {}
            () = stop.cancelled() => {}
        }
        let mut outage = Outage::default();
        while !stop.is_cancelled() {
            let pauses = shared.pauses.now();
            // What cannot be counted can be redriven all the same.
            let reported = shared.report_parked().await.map_err(Failure::from);
            let redriven = shared.redrive_all(&returned, stop).await;
            let attempt = reported.as_ref().and(redriven.as_ref()).map(|_| ());
            observe::storage(&shared.subscription.consumer, &mut outage, attempt);
            if redriven.unwrap_or_default() {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = shared.pauses.change(&pauses) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

impl Subscribed {
    async fn report_parked(&self) -> Result<(), DbErr> {
        let consumer = &self.subscription.consumer;
        observe::parked_now(consumer, parked::by_state(self.database.read(), consumer).await?);
        Ok(())
    }

    /// Handles what comes back, page by page; returns whether anything has left, or waits for an operator again: others may have waited for
    /// that.
    async fn redrive_all(
        self: &Arc<Self>,
        returned: &Returned,
        stop: &CancellationToken,
    ) -> Result<bool, Failure> {
        if self.is_paused_as_a_whole() {
            return Ok(false);
        }
        let (mut after, mut done, mut there) = (0, false, HashSet::new());
        let paused = self.pauses.kinds(&self.subscription.consumer);
        loop {
            let (read, subscription) = (self.database.read(), &self.subscription);
            let page = parked::leaving(read, subscription, self.park, &paused, after, PAGE).await?;
            let last = page.last().map(|last| last.seq).filter(|_| page.len() as u64 == PAGE);
            there.extend(page.iter().map(|leaving| leaving.seq));
            done |= self.come_back(page, returned, stop).await?;
            match last {
                _ if stop.is_cancelled() => return Ok(false),
                Some(last) => after = last,
                None => break,
            }
        }
        returned.retain(&there);
        if let Err(error) = self.look_ahead().await {
            observe::storage_failed(&self.subscription.consumer, &error.into());
        }
        Ok(done)
    }

    /// Handles what comes back of a page, each key in a lane. Where the last attempt has not come back, it may have ended its process, or have
    /// been under way when another did: those are handled at the end and one by one, so that only the one that ends processes is counted as often
    /// as it does.
    async fn come_back(
        self: &Arc<Self>,
        page: Vec<Leaving>,
        returned: &Returned,
        stop: &CancellationToken,
    ) -> Result<bool, Failure> {
        let is_suspect = |leaving: &Leaving| leaving.redrives > 0 && !returned.contains(leaving.seq);
        let (mut suspects, others) = page.into_iter().partition::<Vec<Leaving>, _>(is_suspect);
        let lanes = lanes::by_key(others, |leaving| &leaving.partition_key);
        let lanes = lanes.into_iter().map(|lane| self.come_back_in_line(lane, returned, stop));
        let lanes = futures_util::future::join_all(lanes).await;
        let done = lanes
            .into_iter()
            .try_fold(false, |done, lane: Result<bool, Failure>| Ok::<_, Failure>(done | lane?))?;
        let now = retry::now();
        suspects.retain(|suspect| !suspect.may_be_tried(now));
        Ok(self.come_back_in_line(suspects, returned, stop).await? | done)
    }

    async fn come_back_in_line(
        self: &Arc<Self>,
        line: Vec<Leaving>,
        returned: &Returned,
        stop: &CancellationToken,
    ) -> Result<bool, Failure> {
        let mut done = false;
        for leaving in line {
            // Looked at for each: it may have begun in the middle of a page.
            if stop.is_cancelled() || self.is_paused(&leaving.kind, &leaving.partition_key) {
                continue;
            }
            done |= match leaving.state {
                State::Waiting => self.drain(&leaving, returned, stop).await?,
                _ => self.try_again(leaving.seq, returned).await?,
            };
        }
        Ok(done)
    }

    /// Handles a message that comes back, unless others are in its way. Returns whether it has left, or waits for an operator again.
    pub(super) async fn try_again(self: &Arc<Self>, seq: i64, returned: &Returned) -> Result<bool, Failure> {
        let failure = match self.redrive_one(seq, returned.contains(seq)).await {
            Ok(left) => return Ok(left),
            Err(failure) => failure,
        };
        returned.add(&[seq]);
        if matches!(failure, Failure::Contention(_)) {
            if returned.contended_for(seq) < CONTENDED {
                // Those behind it need not wait for that.
                observe::storage_failed(&self.subscription.consumer, &failure);
                return Ok(false);
            }
        } else if failure.passes() {
            return Err(failure);
        }
        self.give_back(seq, observe::chain(&failure)).await?;
        returned.remove(seq);
        Ok(true)
    }

    /// `came_back` when the last attempt of this process did. Returns whether the message has left, or waits for an operator again.
    async fn redrive_one(self: &Arc<Self>, seq: i64, came_back: bool) -> Result<bool, Failure> {
        let begun = self.database.transact(move |transaction| {
            Box::pin(async move { parked::begin(transaction, seq, came_back, retry::now()).await })
        });
        match begun.await? {
            Begun::Yes => {}
            Begun::No => return Ok(false),
            Begun::Never(reason) => {
                observe::redrive_failed(&self.subscription.consumer, seq, &reason);
                return Ok(true);
            }
        }
        self.redrive_begun(seq).await?;
        Ok(true)
    }

    /// Handles a message, of which an attempt was counted, unless it cannot be tried now.
    pub(super) async fn redrive_begun(self: &Arc<Self>, seq: i64) -> Result<Chosen<()>, Failure> {
        let shared = Arc::clone(self);
        let handled = self.database.transact(move |transaction| {
            let shared = Arc::clone(&shared);
            Box::pin(async move { shared.redrive_in(transaction, seq).await })
        });
        let (after, problem) = match handled.await? {
            Chosen::Tried(tried) => tried,
            Chosen::PutBack => return Ok(Chosen::PutBack),
            Chosen::Gone => return Ok(Chosen::Gone),
        };
        after.run();
        match problem {
            None => observe::redriven(&self.subscription.consumer, seq),
            Some(problem) => observe::redrive_failed(&self.subscription.consumer, seq, &problem),
        }
        Ok(Chosen::Tried(()))
    }

    /// What is to be done after the commit, and why the message waits for an operator again, if it does.
    async fn redrive_in(
        &self,
        transaction: &Transaction,
        seq: i64,
    ) -> Result<Chosen<(AfterCommit, Option<String>)>, DbErr> {
        let Some(row) = parked::lock(transaction, seq).await? else { return Ok(Chosen::Gone) };
        // Whoever has chosen it may not have looked. It stays sent back, and is tried once nothing is in its way any more; what a job has chosen
        // waits for the operator, who may stop the job.
        if self.is_paused(&row.kind, &row.partition_key)
            || self.park == Park::Key && parked::ahead_of(transaction, &row).await?.is_some()
        {
            if row.redrive_job.is_some() {
                parked::put_back(transaction, &row).await?;
            }
            return Ok(Chosen::PutBack);
        }
        self.handle_again(transaction, &row, retry::now()).await.map(Chosen::Tried)
    }

    /// The same for a message that the caller holds.
    pub(super) async fn handle_again(
        &self,
        transaction: &Transaction,
        row: &parked::Model,
        now: i64,
    ) -> Result<(AfterCommit, Option<String>), DbErr> {
        let mut effects = Effects::default();
        let verdict = match row.envelope() {
            Some(message) if self.knows(&message) => {
                self.judge(transaction, &message, row.state, &mut effects, now).await?
            }
            Some(message) => {
                let (consumer, kind) = (&self.subscription.consumer, message.kind);
                Verdict::Park(format!("{consumer} does not know messages of the kind {kind}"))
            }
            None => Verdict::Park("the message cannot be read back from what was parked".to_owned()),
        };
        let mut after = effects.apply(transaction).await?;
        let problem = match verdict {
            Verdict::Done => {
                parked::remove(transaction, row).await?;
                self.report_repeats(row, &mut after);
                None
            }
            Verdict::Park(error) => {
                parked::give_back(transaction, row, &error, now).await?;
                Some(error)
            }
        };
        Ok((after, problem))
    }

    /// Whoever looks for a request that was counted on a row finds what has become of it.
    pub(super) fn report_repeats(&self, row: &parked::Model, after: &mut AfterCommit) {
        let (seq, repeats) = (row.seq, row.repeats);
        if repeats > 0 {
            let consumer = self.subscription.consumer.clone();
            after.0.push(Box::new(move || observe::repeats_done(&consumer, seq, repeats)));
        }
    }

    async fn judge(
        &self,
        transaction: &Transaction,
        message: &Envelope,
        state: State,
        effects: &mut Effects,
        now: i64,
    ) -> Result<Verdict, DbErr> {
        // A parked message is in the inbox since it was parked. A held one is not, and may have come a second time.
        let seen = state == State::Held
            && self.deduplication != Deduplication::Handler
            && inbox::new_among(transaction, &self.subscription.consumer, [message], now).await?.is_empty();
        if seen {
            return Ok(Verdict::Done);
        }
        let verdict = self.verdicts(Reading::Locked(transaction), &[message], effects).await?.pop();
        verdict.ok_or_else(|| DbErr::Custom("there is no verdict".to_owned()))
    }

    pub(super) async fn give_back(&self, seq: i64, error: String) -> Result<(), Failure> {
        let reason = error.clone();
        let given_back = self.database.transact(move |transaction| {
            let error = error.clone();
            Box::pin(async move {
                match parked::lock(transaction, seq).await? {
                    Some(row) => parked::give_back(transaction, &row, &error, retry::now()).await,
                    None => Ok(()),
                }
            })
        });
        given_back.await?;
        observe::redrive_failed(&self.subscription.consumer, seq, &reason);
        Ok(())
    }
}
