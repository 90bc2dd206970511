//! What waits behind others of its key, or for the end of a pause, leaves: several of a key in one transaction, for there may be as many as come
//! in hours. What fails so is tried alone.

use std::sync::Arc;

use sea_orm::DbErr;
use storage::{Failure, Reading, Transaction};
use tokio_util::sync::CancellationToken;

use super::{
    handler::{AfterCommit, Effects, Verdict},
    returned::Returned,
    subscribed::Subscribed,
};
use crate::{
    envelope::Envelope,
    observe,
    parked::{self, Leaving, Model},
    retry,
};

/// Messages of one transaction at most, and bytes of their payloads beyond the first.
const TOGETHER: usize = 50;
const BYTES: usize = 4 * 1_024 * 1_024;

/// What came of an attempt at what waits of a key.
enum Line {
    /// All of these have left.
    Left,
    /// This one has to be tried alone.
    Alone(i64),
    /// Nothing waits there any more, or nothing may leave.
    Nothing,
}

impl Subscribed {
    /// Handles what waits of a key, in its order, until nothing does or something is in the way. Returns whether anything has left, or waits for
    /// an operator.
    pub(super) async fn drain(
        self: &Arc<Self>,
        first: &Leaving,
        returned: &Returned,
        stop: &CancellationToken,
    ) -> Result<bool, Failure> {
        let mut done = false;
        while !stop.is_cancelled() {
            done |= match self.try_line(first, returned).await? {
                Line::Left => true,
                Line::Alone(seq) if self.try_again(seq, returned).await? => true,
                Line::Alone(_) | Line::Nothing => break,
            };
        }
        Ok(done)
    }

    async fn try_line(self: &Arc<Self>, first: &Leaving, returned: &Returned) -> Result<Line, Failure> {
        let (shared, of) = (Arc::clone(self), first.clone());
        let begun = self.database.transact(move |transaction| {
            let (shared, of) = (Arc::clone(&shared), of.clone());
            Box::pin(async move {
                let line = shared.line(transaction, &of, TOGETHER).await?;
                let counted = line.len() > 1 && parked::begin_line(transaction, &line, retry::now()).await?;
                Ok((line.into_iter().map(|row| row.seq).collect::<Vec<i64>>(), counted))
            })
        });
        let (seqs, counted) = match begun.await {
            Ok(begun) => begun,
            Err(failure @ Failure::Contention(_)) => {
                // Those of other keys need not wait for that.
                observe::storage_failed(&self.subscription.consumer, &failure);
                return Ok(Line::Nothing);
            }
            Err(failure) => return Err(failure),
        };
        let Some(alone) = seqs.first().copied() else { return Ok(Line::Nothing) };
        if !counted {
            return Ok(Line::Alone(alone));
        }
        match self.handle_line(first, &seqs).await {
            Ok(()) => Ok(Line::Left),
            Err(failure) if failure.passes() && !matches!(failure, Failure::Contention(_)) => Err(failure),
            Err(failure) => {
                tracing::debug!(messaging.part = self.subscription.consumer, error = %observe::chain(&failure), "what waits of a key is tried one by one");
                returned.add(&seqs);
                Ok(Line::Alone(alone))
            }
        }
    }

    /// What waits of a key and may leave together.
    async fn line(
        &self,
        transaction: &Transaction,
        first: &Leaving,
        most: usize,
    ) -> Result<Vec<Model>, DbErr> {
        let (most, mut bytes) = (self.database.batch(most), 0);
        let consumer = &self.subscription.consumer;
        let mut line = parked::lock_line(transaction, consumer, self.park, first, most).await?;
        let goes = |row: &&Model| !self.is_paused(&row.kind, &row.partition_key);
        line.truncate(line.iter().take_while(goes).count());
        let together = line.iter().enumerate().take_while(|(at, row)| {
            bytes += row.payload.len();
            *at == 0 || bytes <= BYTES && row.envelope().is_some_and(|message| self.knows(&message))
        });
        let together = together.count();
        line.truncate(together);
        Ok(line)
    }

    async fn handle_line(self: &Arc<Self>, first: &Leaving, seqs: &[i64]) -> Result<(), Failure> {
        let (shared, of, begun) = (Arc::clone(self), first.clone(), seqs.to_vec());
        let handled = self.database.transact(move |transaction| {
            let (shared, of, begun) = (Arc::clone(&shared), of.clone(), begun.clone());
            Box::pin(async move {
                let mut line = shared.line(transaction, &of, begun.len()).await?;
                // What somebody has discarded meanwhile is not there, and what has taken its place was not counted.
                line.truncate(line.iter().take_while(|row| begun.contains(&row.seq)).count());
                shared.handle_together(transaction, &line).await
            })
        });
        handled.await?.run();
        for seq in seqs {
            observe::redriven(&self.subscription.consumer, *seq);
        }
        Ok(())
    }

    async fn handle_together(&self, transaction: &Transaction, line: &[Model]) -> Result<AfterCommit, DbErr> {
        let messages: Vec<Envelope> = line.iter().filter_map(Model::envelope).collect();
        let messages: Vec<&Envelope> = messages.iter().filter(|message| self.knows(message)).collect();
        let mut effects = Effects::default();
        let all_done = messages.len() == line.len()
            && (line.is_empty()
                || self
                    .verdicts(Reading::Locked(transaction), &messages, &mut effects)
                    .await?
                    .iter()
                    .all(|verdict| *verdict == Verdict::Done));
        if !all_done {
            return Err(DbErr::Custom("one of several messages of a key cannot be handled".to_owned()));
        }
        let mut after = effects.apply(transaction).await?;
        parked::remove_line(transaction, line).await?;
        line.iter().for_each(|row| self.report_repeats(row, &mut after));
        Ok(after)
    }
}
