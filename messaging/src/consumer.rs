//! The consumer: takes what is there, lets the handler apply it in one transaction with its memory, and acknowledges after the
//! commit. A batch that fails is split until the message at fault stands alone; that one is parked, and blocks nobody. What others are in
//! the way of waits apart, key by key. A handler may be able to do without locks as long as nobody gets in its way: that is tried first.

mod handler;
mod source;
mod part;
mod subscribed;
mod effect;
mod progress;
mod attempts;
mod apart;
mod partition;
mod redrive;
mod paced;
mod preview;

use std::{fmt, sync::Arc};

use storage::Database;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::{
    attempts::Attempts,
    partition::Partition,
    source::Source,
    subscribed::{Permits, Subscribed},
};
pub use self::{
    handler::{AfterCommit, Deduplication, Effects, Handler, Verdict},
    preview::{Operated, Outcome, Preview},
};
use crate::{
    broker::{Broker, BrokerError, Inflow},
    health::Health,
    observe,
    retry::Backoff,
    topology::Subscription,
};

/// Messages received and not yet acknowledged at most: while one batch commits, the next is on its way.
const PREFETCH: u16 = 400;

/// Consumes the messages of one subscription into one database.
pub struct Consumer {
    shared: Arc<Subscribed>,
    broker: Arc<dyn Broker>,
    partitions: u16,
    health: Health,
    /// Wakes who runs redrives in the background.
    jobs: Arc<Notify>,
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
        let shared = Arc::new(Subscribed { database, subscription, deduplication, handler, permits });
        Self { shared, broker, partitions, health: Health::new(), jobs: Arc::default() }
    }

    /// Sets where its state is reported: for each partition as the part `consumer.0` and so on, for what the broker has given up as
    /// `dead-letters`.
    #[must_use]
    pub fn with_health(self, health: &Health) -> Self {
        Self { health: health.clone(), ..self }
    }

    /// What an operator does about it in this process.
    #[must_use]
    pub fn operated(&self) -> Operated {
        Operated::new(&self.shared, &self.jobs)
    }

    /// Consumes until `stop`; a batch under way is finished first. Neither a broker nor a database that is away ends it.
    pub async fn run(self, stop: CancellationToken) {
        observe::consumer_begins(&self.shared.subscription.consumer);
        let sources = (0..self.partitions).map(Source::Partition).chain([Source::DeadLetters]);
        let sources = sources.map(|source| self.consume(source, &stop));
        tokio::join!(
            futures_util::future::join_all(sources),
            self.redrive(&stop),
            paced::run(&self.shared, &self.jobs, &stop)
        );
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
                Ok(None) => {
                    part.ok();
                    return stop.cancelled().await;
                }
                Ok(Some(inflow)) => {
                    observe::connected(source.kind(), &self.shared.subscription.consumer);
                    if !doubted {
                        part.ok();
                    }
                    let attempts = Attempts::new(&self.shared, source.to_string(), &part, doubted, stop);
                    let (useful, lost) = Partition { attempts }.consume(inflow).await;
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
                part.broker_failed(&error);
                tokio::select! {
                    () = tokio::time::sleep(backoff.delay()) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// `None` when nothing will ever come from there.
    async fn subscribe(&self, source: Source) -> Result<Option<Box<dyn Inflow>>, BrokerError> {
        let subscription = &self.shared.subscription;
        match source {
            Source::Partition(partition) => {
                self.broker.subscribe(subscription, partition, PREFETCH).await.map(Some)
            }
            Source::DeadLetters => self.broker.dead_letters(&subscription.consumer).await,
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("subscription", &self.shared.subscription).finish_non_exhaustive()
    }
}
