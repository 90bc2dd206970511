//! The consumer: takes what is there, lets the handler apply it in one transaction with its memory, and acknowledges after the
//! commit. A batch that fails is split until the message at fault stands alone; that one is parked, and blocks nobody. What others are in
//! the way of waits apart, key by key. A handler may be able to do without locks as long as nobody gets in its way: that is tried first.

mod source;
mod partition;
mod part;
mod apart;
mod progress;
mod effect;
mod redrive;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use sea_orm::DbErr;
use storage::{
    Database, Executor, Failure, Reading, Transaction,
    rows::{self, Write},
};
use tokio_util::sync::CancellationToken;

use self::{
    partition::{Partition, Permits},
    source::Source,
};
use crate::{
    broker::{Broker, BrokerError, Inflow},
    envelope::Envelope,
    health::Health,
    observe,
    retry::Backoff,
    topology::Subscription,
};

/// Messages of one transaction at most.
const BATCH: usize = 200;
/// Messages received and not yet acknowledged at most: while one batch commits, the next is on its way.
const PREFETCH: u16 = 400;

/// What a consumer does with its messages.
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
pub struct AfterCommit(Vec<Box<dyn FnOnce() + Send>>);

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

/// Consumes the messages of one subscription into one database.
pub struct Consumer {
    shared: Arc<Shared>,
    broker: Arc<dyn Broker>,
    partitions: u16,
    health: Health,
}

struct Shared {
    database: Database,
    subscription: Subscription,
    deduplication: Deduplication,
    handler: Box<dyn Handler>,
    permits: Permits,
}

impl Consumer {
    /// A consumer of every partition of `subscription`.
    pub fn new(
        database: Database,
        broker: Arc<dyn Broker>,
        partitions: u16,
        subscription: Subscription,
        deduplication: Deduplication,
        handler: impl Handler,
    ) -> Self {
        // Whoever holds a row for long keeps only the messages of its key waiting.
        let (database, handler, permits) = (database.with_brief_waits(), Box::new(handler), Permits::new());
        let shared = Arc::new(Shared { database, subscription, deduplication, handler, permits });
        Self { shared, broker, partitions, health: Health::new() }
    }

    /// Sets where its state is reported: for each partition as the part `consumer.0` and so on, for what the broker has given up as
    /// `dead-letters`.
    #[must_use]
    pub fn with_health(self, health: &Health) -> Self {
        Self { health: health.clone(), ..self }
    }

    /// Consumes until `stop`; a batch under way is finished first. Neither a broker nor a database that is away ends it.
    pub async fn run(self, stop: CancellationToken) {
        observe::consumer_begins(&self.shared.subscription.consumer);
        let sources = (0..self.partitions).map(Source::Partition).chain([Source::DeadLetters]);
        let sources = sources.map(|source| self.consume(source, &stop));
        tokio::join!(futures_util::future::join_all(sources), self.redrive(&stop));
    }

    async fn consume(&self, source: Source, stop: &CancellationToken) {
        let part = self.health.part(source.to_string(), &self.shared.subscription.consumer);
        let (mut backoff, mut doubted) = (Backoff::new(), false);
        while !stop.is_cancelled() {
            let subscribed = tokio::select! {
                subscribed = self.subscribe(source) => subscribed,
                () = stop.cancelled() => return,
            };
            let lost = match subscribed {
                Ok(inflow) => {
                    observe::connected(source.kind(), &self.shared.subscription.consumer);
                    if !doubted {
                        part.ok();
                    }
                    let partition = Partition::new(&self.shared, source.to_string(), &part, doubted, stop);
                    let (useful, lost) = partition.consume(inflow).await;
                    // A subscription that is lost at once is no cure, however quickly it is there.
                    if useful {
                        backoff.reset();
                    }
                    doubted = !useful;
                    lost
                }
                Err(error) => Err(error),
            };
            if let Err(error) = lost {
                error.report(&part);
                tokio::select! {
                    () = tokio::time::sleep(backoff.delay()) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    async fn subscribe(&self, source: Source) -> Result<Box<dyn Inflow>, BrokerError> {
        let subscription = &self.shared.subscription;
        match source {
            Source::Partition(partition) => self.broker.subscribe(subscription, partition, PREFETCH).await,
            Source::DeadLetters => self.broker.dead_letters(&subscription.consumer).await,
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("subscription", &self.shared.subscription).finish_non_exhaustive()
    }
}
