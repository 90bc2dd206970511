//! The consumer: takes what is there, lets the handler apply it in one transaction with its memory, and acknowledges after the
//! commit. A batch that fails is split until the message at fault stands alone; that one is parked, and blocks nobody. What others are in
//! the way of waits apart, key by key. A handler may be able to do without locks as long as nobody gets in its way: that is tried first.

mod handler;
mod source;
mod part;
mod knowledge;
mod subscribed;
mod order;
mod attempt;
mod effect;
mod progress;
mod attempts;
mod apart;
mod partition;
mod lanes;
mod returned;
mod redrive;
mod waiting;
mod pace;
mod paced;
mod preview;

use std::{collections::BTreeMap, convert::Infallible, fmt, future::pending, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use storage::Database;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::{
    attempts::Attempts,
    knowledge::Knowledge,
    partition::Partition,
    source::Source,
    subscribed::{Permits, Subscribed},
};
pub use self::{
    handler::{AfterCommit, Deduplication, Effects, Handler, Verdict},
    preview::{Operated, Outcome, Preview},
};
use crate::{
    broker::{Broker, BrokerError, Held, Inflow},
    health::{Health, Part},
    observe,
    parked::Park,
    pauses::{Paused, Pauses},
    retry::Backoff,
    topology::Subscription,
};

/// Messages received and not yet acknowledged at most: while one batch commits, the next is on its way.
const PREFETCH: u16 = 400;

/// How long what was delivered before a pause may still be handled. What is not done by then goes back to its queue, which the broker counts
/// as a delivery that was not acknowledged.
const DRAIN: Duration = Duration::from_millis(500);

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
        let shared = Subscribed {
            database: database.with_brief_waits(),
            subscription,
            partitions,
            deduplication,
            handler: Box::new(handler),
            park: Park::default(),
            pauses: Pauses::none(),
            knowledge: Knowledge::new(),
            permits: Permits::new(),
        };
        Self { shared: Arc::new(shared), broker, partitions, health: Health::new(), jobs: Arc::default() }
    }

    /// Sets where its state is reported: for each partition as the part `consumer.0` and so on, for what the broker has given up as
    /// `dead-letters`.
    #[must_use]
    pub fn with_health(self, health: &Health) -> Self {
        Self { health: health.clone(), ..self }
    }

    /// Sets what waits with a message that is parked, instead of nothing; before [`Consumer::operated`]. It has to be the same in every process.
    #[must_use]
    pub fn with_park(self, park: Park) -> Self {
        self.with(|shared| shared.park = park)
    }

    /// Sets what may pause it, or a part of it: nothing is taken from its queues then, and nothing before they were
    /// read. Before [`Consumer::operated`].
    #[must_use]
    pub fn with_pauses(self, pauses: &Pauses) -> Self {
        self.with(|shared| shared.pauses = pauses.clone())
    }

    fn with(mut self, change: impl FnOnce(&mut Subscribed)) -> Self {
        // Nobody else has it before it runs or is operated.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            change(shared);
        }
        self
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
        let beside = [
            self.redrive(&stop).boxed(),
            paced::run(&self.shared, &self.jobs, &stop).boxed(),
            self.show_paused_kinds(&stop).boxed(),
        ];
        // Who is woken is polled alone: of all these, one has something to do at a time.
        let all: FuturesUnordered<_> =
            sources.map(|source| self.consume(source, &stop).boxed()).chain(beside).collect();
        all.collect().await
    }

    async fn consume(&self, source: Source, stop: &CancellationToken) {
        let part = self.health.part(source.to_string(), &self.shared.subscription.consumer);
        let (mut backoff, mut doubted) = (Backoff::new(), false);
        tokio::select! {
            () = part.await_pauses(&self.shared.pauses) => {}
            () = stop.cancelled() => {}
        }
        while !stop.is_cancelled() {
            if let Some(paused) = self.paused(source) {
                self.wait_out(source, &part, paused, stop).await;
                continue;
            }
            let subscribed = tokio::select! {
                subscribed = self.subscribe(source) => subscribed,
                () = self.pause_changes(source, None) => continue,
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
                    let (useful, lost) = self.receive(source, inflow, &part, doubted, stop).await;
                    // A subscription that is lost at once is no cure, however quickly it is there.
                    if useful {
                        backoff.reset();
                    }
                    doubted = !useful && lost.is_err();
                    lost
                }
                Err(error) => Err(error),
            };
            if let Err(error) = lost {
                part.broker_failed(&error);
                tokio::select! {
                    () = tokio::time::sleep(backoff.delay()) => {}
                    () = self.pause_changes(source, None) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Receives until the connection is lost, until a pause, or until the stop. Also returns whether the subscription was of any use.
    async fn receive(
        &self,
        source: Source,
        inflow: Box<dyn Inflow>,
        part: &Part,
        doubted: bool,
        stop: &CancellationToken,
    ) -> (bool, Result<(), BrokerError>) {
        let (drain, halt) = (CancellationToken::new(), stop.child_token());
        let attempts = Attempts::new(&self.shared, part, doubted, &halt);
        let number = if let Source::Partition(number) = source { Some(number) } else { None };
        let partition = Partition { attempts, number, drain: &drain };
        let pause = async {
            self.pause_changes(source, None).await;
            drain.cancel();
            tokio::time::sleep(DRAIN).await;
            halt.cancel();
            pending::<Infallible>().await
        };
        tokio::select! {
            ended = partition.consume(inflow) => ended,
            never = pause => match never {},
        }
    }

    /// Takes nothing, without a connection, until there is another pause or none.
    async fn wait_out(&self, source: Source, part: &Part, paused: Paused, stop: &CancellationToken) {
        part.paused(paused.clone());
        let _held = match source {
            Source::Partition(number) => self.broker.hold(&self.shared.subscription, number),
            Source::DeadLetters => Held::default(),
        };
        tokio::select! {
            () = self.pause_changes(source, Some(&paused)) => {}
            () = stop.cancelled() => {}
        }
    }

    /// What the broker has given up is parked all the same: that has no effect, and an operator sees it.
    fn paused(&self, source: Source) -> Option<Paused> {
        match source {
            Source::Partition(number) => {
                self.shared.pauses.of_partition(&self.shared.subscription.consumer, number)
            }
            Source::DeadLetters => None,
        }
    }

    async fn pause_changes(&self, source: Source, before: Option<&Paused>) {
        match source {
            Source::Partition(number) => {
                let consumer = &self.shared.subscription.consumer;
                self.shared.pauses.partition_changes(consumer, number, before).await;
            }
            Source::DeadLetters => pending().await,
        }
    }

    /// Shows each kind that is paused as a part of its own: the partitions go on with the others.
    async fn show_paused_kinds(&self, stop: &CancellationToken) {
        let (consumer, pauses) = (&self.shared.subscription.consumer, &self.shared.pauses);
        let mut parts: BTreeMap<String, Part> = BTreeMap::new();
        while !stop.is_cancelled() {
            let (now, kinds) = (pauses.now(), pauses.of_kinds(consumer));
            parts.retain(|name, part| {
                let lasts = kinds.iter().any(|(paused, _)| paused == name);
                if !lasts {
                    part.gone();
                }
                lasts
            });
            for (name, paused) in kinds {
                let part = parts.entry(name).or_insert_with_key(|name| self.health.part(name, consumer));
                part.paused(paused);
            }
            tokio::select! {
                () = pauses.change(&now) => {}
                () = stop.cancelled() => {}
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
