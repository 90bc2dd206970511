//! The consumer: takes what is there, lets the handler apply it in one transaction with its memory, and acknowledges after the
//! commit. A batch that fails is split until the message at fault stands alone; that one is parked, and blocks nobody.

mod part;
mod redrive;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use sea_orm::{DatabaseTransaction, DbErr};
use storage::{Database, Failure};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use self::part::Part;
use crate::{
    broker::{Broker, BrokerError, Delivery, Inflow},
    envelope::Envelope,
    inbox, observe,
    parked::{self, Parking, State},
    retry::{self, Backoff},
    topology::Subscription,
};

/// Messages of one transaction at most.
const BATCH: usize = 200;
/// Messages received and not yet acknowledged at most: while one batch commits, the next is on its way.
const PREFETCH: u16 = 400;

/// What a consumer does with its messages.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Applies a batch inside the transaction, and returns a verdict for each message in their order. Without an inbox a
    /// message may come again, with one within the same batch too; with or without, in any order. An error rolls the batch
    /// back; it is then tried in halves.
    async fn handle(
        &self,
        transaction: &DatabaseTransaction,
        batch: &[&Envelope],
    ) -> Result<Vec<Verdict>, DbErr>;

    /// Called after each commit.
    fn committed(&self) {}
}

/// What the handler says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its effect is part of the transaction.
    Done,
    /// It must not be applied, for this reason: an operator shall see it.
    Park(String),
}

/// How a consumer tells a message that it has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deduplication {
    /// By a row in the inbox, in the transaction of the effect.
    Inbox,
    /// The handler's effect is idempotent by itself.
    Handler,
}

/// Consumes the messages of one subscription into one database.
pub struct Consumer {
    shared: Arc<Shared>,
    broker: Arc<dyn Broker>,
    partitions: u16,
}

struct Shared {
    database: Database,
    subscription: Subscription,
    deduplication: Deduplication,
    handler: Box<dyn Handler>,
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
        let shared = Shared { database, subscription, deduplication, handler: Box::new(handler) };
        Self { shared: Arc::new(shared), broker, partitions }
    }

    /// Consumes until `stop`; a batch under way is finished first. Neither a broker nor a database that is away ends it.
    pub async fn run(self, stop: CancellationToken) {
        observe::consumer_begins(&self.shared.subscription.consumer);
        let partitions = (0..self.partitions).map(|partition| self.consume(partition, &stop));
        tokio::join!(futures_util::future::join_all(partitions), self.redrive(&stop));
    }

    async fn consume(&self, partition: u16, stop: &CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let subscribed = tokio::select! {
                subscribed = self.broker.subscribe(&self.shared.subscription, partition, PREFETCH) => subscribed,
                () = stop.cancelled() => return,
            };
            let lost = match subscribed {
                Ok(inflow) => {
                    observe::connected("consumer", &self.shared.subscription.consumer);
                    backoff.reset();
                    self.consume_until_lost(inflow, stop).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = lost {
                observe::broker_away(&self.shared.subscription.consumer, &error);
                tokio::select! {
                    () = tokio::time::sleep(backoff.delay()) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    async fn consume_until_lost(
        &self,
        mut inflow: Box<dyn Inflow>,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let most = self.shared.database.batch(BATCH);
        loop {
            let batch = tokio::select! {
                batch = inflow.receive(most) => batch?,
                () = stop.cancelled() => return Ok(()),
            };
            observe::batch_received(&self.shared.subscription.consumer, &batch);
            let Some(last) = batch.last().map(|delivery| delivery.tag) else { continue };
            if !self.settle(batch, stop).await {
                return Ok(());
            }
            inflow.ack_through(last).await?;
        }
    }

    /// Commits every message of the batch, applied or parked; `false` when `stop` came before.
    async fn settle(&self, batch: Vec<Delivery>, stop: &CancellationToken) -> bool {
        let consumer = &self.shared.subscription.consumer;
        let mut backoff = Backoff::new();
        // A stack of parts that are still to be committed, the first on top.
        let mut parts = part::cut(batch);
        while let Some(part) = parts.pop() {
            let failure = match self.shared.apply(&part).await {
                Ok(()) => {
                    backoff.reset();
                    continue;
                }
                Err(failure) => failure,
            };
            observe::batch_failed(consumer, part.deliveries.len(), &failure);
            let passing = matches!(failure, Failure::Unavailable(_) | Failure::Contention(_));
            if !passing && part.fault.is_none() {
                parts.extend(part.divide(&failure));
                continue;
            }
            parts.push(part);
            tokio::select! {
                () = tokio::time::sleep(backoff.delay()) => {}
                () = stop.cancelled() => return false,
            }
        }
        true
    }
}

impl Shared {
    /// Applies or parks every message of the part, in one transaction with its memory.
    async fn apply(self: &Arc<Self>, part: &Part) -> Result<(), Failure> {
        let (shared, deliveries) = (Arc::clone(self), Arc::clone(&part.deliveries));
        let (attempts, fault) = (part.attempts, part.fault.clone());
        let spans = observe::effects(&self.subscription.consumer, &part.deliveries);
        let applied = self.database.transact(move |transaction| {
            let (shared, deliveries, fault) = (Arc::clone(&shared), Arc::clone(&deliveries), fault.clone());
            Box::pin(async move { shared.apply_in(transaction, &deliveries, attempts, fault).await })
        });
        if let Err(failure) = applied.await {
            spans.failed(&observe::chain(&failure));
            return Err(failure);
        }
        drop(spans);
        self.handler.committed();
        observe::batch_applied(&self.subscription.consumer, &part.deliveries);
        Ok(())
    }

    async fn apply_in(
        &self,
        transaction: &DatabaseTransaction,
        deliveries: &[Delivery],
        attempts: i32,
        fault: Option<String>,
    ) -> Result<(), DbErr> {
        let now = retry::now();
        let consumer = &self.subscription.consumer;
        let decoded = deliveries.iter().filter_map(|delivery| delivery.message.as_ref().ok());
        let (known, strange): (Vec<&Envelope>, Vec<&Envelope>) =
            decoded.partition(|message| self.subscription.kinds.contains(&message.kind));
        let fresh: Vec<&Envelope> = match self.deduplication {
            Deduplication::Inbox => inbox::new_among(transaction, consumer, known, now).await?,
            Deduplication::Handler => known,
        };
        let verdicts = match fault {
            Some(reason) => vec![Verdict::Park(reason); fresh.len()],
            None if fresh.is_empty() => Vec::new(),
            None => {
                self.handler
                    .handle(transaction, &fresh)
                    .instrument(observe::handling(consumer, &fresh))
                    .await?
            }
        };
        if verdicts.len() != fresh.len() {
            return Err(DbErr::Custom("the handler did not judge each of its messages".to_owned()));
        }
        let undecodable = deliveries.iter().filter_map(|delivery| delivery.message.as_ref().err());
        let refused = fresh.into_iter().zip(verdicts).filter_map(|(message, verdict)| match verdict {
            Verdict::Done => None,
            Verdict::Park(error) => {
                Some(Parking { message: Ok(message), error, attempts, state: State::Parked })
            }
        });
        let junk = undecodable.map(|junk| {
            let error = junk.reason.clone();
            Parking { message: Err(junk), error, attempts, state: State::Parked }
        });
        let held = strange.into_iter().map(|message| {
            let error = format!("{consumer} does not know messages of the kind {}", message.kind);
            Parking { message: Ok(message), error, attempts, state: State::Held }
        });
        let parkings: Vec<Parking<'_>> = refused.chain(junk).chain(held).collect();
        parkings.iter().for_each(|parking| observe::parking(consumer, parking));
        parked::park(transaction, consumer, &parkings, now).await
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("subscription", &self.shared.subscription).finish_non_exhaustive()
    }
}
