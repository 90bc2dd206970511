//! The relay: takes rows out of the outbox to the broker, and settles each by what became of it.
//!
//! Every process runs one. On a database that several processes share, the one with the lease publishes; the others stand
//! by, and notify it when their own process has written something.

pub(crate) mod window;
mod publish;
mod watch;
mod upkeep;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use storage::{
    Database, Failure, Outage,
    lease::{Attempt, Lease},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::Broker,
    health::{Health, Part},
    observe,
    outbox::Outbox,
    pauses::Pauses,
    processes::{self, Process},
    retry::Backoff,
};

/// How often one who stands by looks whether the lease was given back.
const STAND_BY: Duration = Duration::from_secs(3);
/// How long calls for the holder of the lease are gathered into one.
const COALESCED: Duration = Duration::from_millis(10);

/// Its name in [`Health`].
const PART: &str = "relay";

/// How long a window under way may take after the stop. With it, the return of the lease has to fit into what a process gives its relays.
const SETTLE: Duration = Duration::from_secs(2);

/// The lease's name, and that of the channel on which its holder is notified.
pub const OUTBOX: &str = "outbox";

/// How long the outbox stands still after its relay was killed, at most. A window has to be over in half of it: the
/// connection of a publisher that is given up closes within 5 s.
pub const LEASE_TERM: Duration = Duration::from_secs(12);

/// Publishes the outbox of one database. It loses nothing: a row is removed only after its message was confirmed, and every
/// other end of an attempt, a crash among them, leaves the row to be published again.
#[derive(Debug)]
pub struct Relay {
    database: Database,
    outbox: Outbox,
    broker: Arc<dyn Broker>,
    source: String,
    holder: String,
    lease_term: Duration,
    part: Part,
    pauses: Pauses,
    /// Nobody is waited for any more.
    hurry: CancellationToken,
    /// Rung by the slow poll.
    waiting: Notify,
    /// Rows that died since the last cleaning.
    dead: AtomicU64,
}

impl Relay {
    /// A relay that publishes as `source` (the `source` of CloudEvents).
    #[must_use]
    pub fn new(
        database: Database,
        outbox: Outbox,
        broker: Arc<dyn Broker>,
        source: impl Into<String>,
    ) -> Self {
        let holder = processes::id(&database);
        let (source, lease_term) = (source.into(), LEASE_TERM);
        let (waiting, dead) = (Notify::new(), AtomicU64::new(0));
        let (part, hurry) = (Health::new().part(PART, &source), CancellationToken::new());
        let pauses = Pauses::none();
        Self { database, outbox, broker, source, holder, lease_term, part, pauses, hurry, waiting, dead }
    }

    /// Sets where its state is reported, as the part `relay`.
    #[must_use]
    pub fn with_health(self, health: &Health) -> Self {
        Self { part: health.part(PART, &self.source), ..self }
    }

    /// Sets what may pause it: it publishes nothing then, and nothing before they were read.
    #[must_use]
    pub fn with_pauses(self, pauses: &Pauses) -> Self {
        Self { pauses: pauses.clone(), ..self }
    }

    /// Sets how long the outbox stands still after its relay was killed, instead of [`LEASE_TERM`].
    #[must_use]
    pub fn with_lease_term(self, lease_term: Duration) -> Self {
        Self { lease_term, ..self }
    }

    /// Sets as which process it holds the lease.
    #[must_use]
    pub fn with_process(self, process: &Process) -> Self {
        Self { holder: process.id.clone(), ..self }
    }

    /// Sets what ends the wait for a window under way after the stop, before its time of 2 s is over.
    #[must_use]
    pub fn with_hurry(self, hurry: CancellationToken) -> Self {
        Self { hurry, ..self }
    }

    /// Publishes, or stands by, until `stop`; a window under way is settled first. Neither a broker nor a database that is
    /// away ends it.
    pub async fn run(self, stop: CancellationToken) {
        observe::relay_begins(&self.source);
        tokio::select! {
            () = self.take_turns(&stop) => {}
            () = self.watch() => {}
            () = self.keep_topology() => {}
        }
    }

    async fn take_turns(&self, stop: &CancellationToken) {
        tokio::select! {
            () = self.part.await_pauses(&self.pauses) => {}
            () = stop.cancelled() => return,
        }
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            match Lease::attempt(&self.database, OUTBOX, &self.holder, self.lease_term).await {
                Ok(Attempt::Won(lease)) => {
                    backoff.reset();
                    self.lead(&lease, stop).await;
                    if let Err(failure) = lease.release().await {
                        observe::storage_failed("relay", &failure);
                    }
                }
                Ok(Attempt::Taken(left)) => {
                    self.stand_by(left.min(STAND_BY), stop).await;
                }
                Err(failure) => {
                    self.outbox_failed(&failure);
                    pause(backoff.delay(), stop).await;
                }
            }
        }
    }

    /// Nothing leaves as long as that lasts.
    fn outbox_failed(&self, failure: &Failure) {
        self.part.database_failed("the outbox cannot be used", failure);
    }

    /// Waits, and notifies the holder of the lease of what this process has written.
    async fn stand_by(&self, rest: Duration, stop: &CancellationToken) {
        let pass_on = async {
            loop {
                self.outbox.woken().await;
                if let Err(failure) = self.database.notify(OUTBOX).await {
                    observe::storage_failed("relay", &failure);
                }
                tokio::time::sleep(COALESCED).await;
            }
        };
        let paused = self.pauses.of_relay();
        match paused.clone() {
            Some(paused) => self.part.paused(paused),
            None => self.part.ok(),
        }
        tokio::select! {
            () = pass_on => {}
            () = self.pauses.relay_changes(paused.as_ref()) => {}
            () = pause(rest, stop) => {}
        }
    }

    /// Publishes until `stop`, or until the lease cannot be counted on: a window under way is then given up, and after the stop as well, if
    /// the broker does not confirm it: with the lease given back, another process publishes the same rows at once.
    async fn lead(&self, lease: &Lease, stop: &CancellationToken) {
        observe::leads(&self.source, lease.token());
        tokio::select! {
            biased;
            () = lease.keep(self.margin()) => observe::lease_lost(&self.source, lease.token()),
            () = self.listen() => {}
            () = self.publish(lease, stop) => {}
            () = self.settled_by(stop) => observe::given_up(&self.source),
        }
    }

    /// Waits until the stop waits for no window any more.
    async fn settled_by(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        pause(SETTLE, &self.hurry).await;
    }

    /// What must be left of the lease while anything is published.
    fn margin(&self) -> Duration {
        self.lease_term / 2
    }

    /// Is notified by the other processes.
    async fn listen(&self) {
        let (mut backoff, mut outage) = (Backoff::new(), Outage::default());
        loop {
            match self.notified(&mut outage).await {
                Ok(()) => backoff.reset(),
                Err(failure) => observe::storage("relay", &mut outage, Err(&failure)),
            }
            tokio::time::sleep(backoff.delay()).await;
        }
    }

    async fn notified(&self, outage: &mut Outage) -> Result<(), Failure> {
        let mut listener = self.database.listen(OUTBOX).await?;
        observe::storage("relay", outage, Ok(()));
        // Nobody listened before.
        self.outbox.wake();
        loop {
            listener.notified().await?;
            self.outbox.wake();
        }
    }
}

async fn pause(delay: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = stop.cancelled() => {}
    }
}
