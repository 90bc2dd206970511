//! What a service does with its messages, and what it leaves to be done.

use std::fmt;

use async_trait::async_trait;
use sea_orm::DbErr;
use storage::{
    Database, Executor, Failure, Reading, Transaction,
    rows::{self, Write},
};

use crate::envelope::Envelope;

/// What a consumer does with its messages, of whatever kind: it has one handler, which gets them as they come.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Applies a batch: reads what it rests on as `reading` says, leaves in `effects` what is to be written, and returns a verdict for each
    /// message in their order. Without an inbox a message may come again, with one within the same batch too; with or without, in any
    /// order.
    ///
    /// Under locks an error rolls the batch back; it is then tried in halves. Optimistically the batch is handled again, under locks, after
    /// any other verdict than [`Verdict::Done`], after [`DbErr::RecordNotUpdated`], and when a write changes fewer rows than it has to.
    ///
    /// A handler without an inbox, to whom it cannot matter that a part of a batch was applied before, may write by itself.
    async fn handle(
        &self,
        reading: Reading<'_>,
        messages: &[&Envelope],
        effects: &mut Effects,
    ) -> Result<Vec<Verdict>, DbErr>;

    /// Whether batches may be handled optimistically at first, which costs fewer round trips: each write is one that changes fewer rows
    /// than it has to when what it rests on is no longer so, or when its effect is there already. Effects are written together with
    /// the deduplication records of the batch, all of it or nothing.
    fn is_optimistic(&self) -> bool {
        false
    }

    /// Whether the effect of a message is there already: looked at without an inbox before a message is parked that was not handled.
    async fn was_applied(&self, executor: Executor<'_>, message: &Envelope) -> Result<bool, DbErr> {
        let _in_general_nobody_knows = (executor, message);
        Ok(false)
    }
}

/// What a handler leaves to be done.
#[derive(Default)]
pub struct Effects {
    writes: Vec<Write>,
    after: AfterCommit,
}

/// Hooks that run once a transaction has committed.
#[derive(Default)]
pub struct AfterCommit(pub(super) Vec<Box<dyn FnOnce() + Send>>);

impl Effects {
    /// To be written when the handler returns, together with the memory of the batch.
    pub fn write(&mut self, writes: Vec<Write>) {
        self.writes.extend(writes);
    }

    /// A hook that runs right after the commit, if there is one. A crash in between loses it: it must be something that somebody does
    /// later anyhow.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.after.0.push(Box::new(hook));
    }

    /// Makes the writes within a transaction.
    ///
    /// # Errors
    /// As [`storage::rows::write`].
    pub async fn apply(self, transaction: &Transaction) -> Result<AfterCommit, DbErr> {
        rows::write(transaction, &self.writes).await?;
        Ok(self.after)
    }

    /// Makes the writes, all or none of them, as a transaction of their own.
    ///
    /// # Errors
    /// As [`Database::write_all`].
    pub async fn commit(self, database: &Database) -> Result<AfterCommit, Failure> {
        if !self.writes.is_empty() {
            database.write_all(self.writes).await?;
        }
        Ok(self.after)
    }
}

impl AfterCommit {
    /// Runs the hooks.
    pub fn run(self) {
        self.0.into_iter().for_each(|hook| hook());
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects").field("writes", &self.writes).finish_non_exhaustive()
    }
}

impl fmt::Debug for AfterCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterCommit").finish_non_exhaustive()
    }
}

/// What the handler says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its effect is among those of the batch, or was there.
    Done,
    /// It must not be applied, for this reason: an operator shall see it.
    Park(String),
}

/// How a consumer recognizes a message that it has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deduplication {
    /// By a row in the inbox, in the transaction of the effect.
    Inbox,
    /// In the same way. And its messages are requests, which their sender repeats with another id until they are answered: one of the same
    /// kind and key and with the same payload as another has no effect of its own, so that it is not parked beside that.
    Requests,
    /// The handler's effect is idempotent by itself.
    Handler,
}
