//! The relay: takes rows out of the outbox to the broker, and settles each by what became of it.
//!
//! Every process runs one. On a database that several processes share, the one with the lease publishes; the others stand
//! by, and ring for it when their own process has written something.

pub(crate) mod window;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use storage::{
    Database, Failure,
    lease::{Attempt, Lease},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::window::{Settlement, Step, TAKEN, WINDOW};
use crate::{
    broker::{Broker, Publisher},
    observe,
    outbox::{self, Outbox},
    retry::{self, Backoff},
};

/// How soon an unroutable message is tried again; a queue may have been bound.
const UNROUTABLE: Duration = Duration::from_secs(1);
/// How often one who stands by looks whether the lease was given back.
const STAND_BY: Duration = Duration::from_secs(3);
/// How long calls for the holder of the lease are gathered into one.
const COALESCED: Duration = Duration::from_millis(10);

/// Rows whose removal is left to the next look at the outbox, at most: it has to compare what it finds with each of them.
const CARRIED: usize = 100;
/// How long that look waits for the next message, which calls for it anyhow.
const CARRYING: Duration = Duration::from_millis(20);

/// The lease's name, and the bell's that its holder listens to.
const OUTBOX: &str = "outbox";

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
        let holder = holder(&database);
        let (source, lease_term) = (source.into(), LEASE_TERM);
        let (waiting, dead) = (Notify::new(), AtomicU64::new(0));
        Self { database, outbox, broker, source, holder, lease_term, waiting, dead }
    }

    /// Sets how long the outbox stands still after its relay was killed, instead of [`LEASE_TERM`].
    #[must_use]
    pub fn with_lease_term(self, lease_term: Duration) -> Self {
        Self { lease_term, ..self }
    }

    /// Publishes, or stands by, until `stop`; a window under way is settled first. Neither a broker nor a database that is
    /// away ends it.
    pub async fn run(self, stop: CancellationToken) {
        observe::relay_begins(&self.source);
        tokio::select! {
            () = self.take_turns(&stop) => {}
            () = self.watch() => {}
        }
    }

    async fn take_turns(&self, stop: &CancellationToken) {
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
                Ok(Attempt::Taken(left)) => self.stand_by(left.min(STAND_BY), stop).await,
                Err(failure) => {
                    observe::storage_failed("relay", &failure);
                    pause(backoff.delay(), stop).await;
                }
            }
        }
    }

    /// Waits, and passes on what this process has to tell the holder of the lease.
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
        tokio::select! {
            () = pass_on => {}
            () = pause(rest, stop) => {}
        }
    }

    /// Publishes until `stop`, or until the lease cannot be counted on: a window under way is then given up.
    async fn lead(&self, lease: &Lease, stop: &CancellationToken) {
        observe::leads(&self.source, lease.token());
        tokio::select! {
            biased;
            () = lease.keep(self.margin()) => observe::lease_lost(&self.source, lease.token()),
            () = self.listen() => {}
            () = self.publish(lease, stop) => {}
        }
    }

    /// What must be left of the lease while anything is published.
    fn margin(&self) -> Duration {
        self.lease_term / 2
    }

    /// Rings this relay's bell for the other processes.
    async fn listen(&self) {
        let mut backoff = Backoff::new();
        loop {
            match self.hear().await {
                Ok(()) => backoff.reset(),
                Err(failure) => observe::storage_failed("relay", &failure),
            }
            tokio::time::sleep(backoff.delay()).await;
        }
    }

    async fn hear(&self) -> Result<(), Failure> {
        let mut listener = self.database.listen(OUTBOX).await?;
        // What was said before nobody heard.
        self.outbox.wake();
        loop {
            listener.heard().await?;
            self.outbox.wake();
        }
    }

    async fn publish(&self, lease: &Lease, stop: &CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let connected = tokio::select! {
                connected = self.broker.publisher() => connected,
                () = stop.cancelled() => return,
            };
            match connected {
                Ok(publisher) => {
                    observe::connected("relay", &self.source);
                    backoff.reset();
                    self.publish_until_lost(publisher, lease, stop).await;
                }
                Err(error) => observe::broker_away("relay", &error),
            }
            pause(backoff.delay(), stop).await;
        }
    }

    async fn publish_until_lost(
        &self,
        mut publisher: Box<dyn Publisher>,
        lease: &Lease,
        stop: &CancellationToken,
    ) {
        let mut backoff = Backoff::new();
        let mut confirmed = Vec::new();
        while !stop.is_cancelled() {
            let retry = match self.step(publisher.as_mut(), lease, &mut confirmed).await {
                Ok(Step::More) => continue,
                Ok(Step::Published) => CARRYING,
                Ok(Step::Idle) => Duration::MAX,
                Ok(Step::Postponed) => UNROUTABLE,
                Ok(Step::Lost) => break,
                Err(failure) => {
                    observe::storage_failed("relay", &failure);
                    pause(backoff.delay(), stop).await;
                    continue;
                }
            };
            backoff.reset();
            tokio::select! {
                () = self.outbox.woken() => {}
                () = self.waiting.notified() => {}
                () = tokio::time::sleep(retry) => {}
                () = stop.cancelled() => {}
            }
        }
        if let Err(failure) = outbox::remove(&self.database, &confirmed).await {
            observe::storage_failed("relay", &failure);
        }
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
        confirmed.clear();
        if rows.is_empty() {
            return Ok(Step::Idle);
        }
        let (more, mut end) = (rows.len() == most, None);
        let (tickets, messages) = window::open(rows, &self.source);
        let mut unsettled = Settlement::default();
        let window = self.database.batch(WINDOW);
        for (tickets, window) in tickets.chunks(window).zip(messages.chunks(window)) {
            if lease.remaining() <= self.margin() {
                // Time has passed: whoever keeps the lease says so in a moment.
                end = Some(Step::Postponed);
                break;
            }
            let began = Instant::now();
            let settling = window::settle(&self.database, std::mem::take(&mut unsettled), UNROUTABLE);
            let spans = observe::publishing(&self.source, window);
            let (outcomes, settled) = tokio::join!(publisher.publish(window), settling);
            drop(spans);
            let taken_over = window::confirmed(window, &outcomes);
            observe::window_published(&self.source, window, &taken_over, began.elapsed());
            self.dead.fetch_add(taken_over.len() as u64, Relaxed);
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

/// Who holds the lease. A SQLite file belongs to one process at a time: after a crash the next one goes on at once.
fn holder(database: &Database) -> String {
    if database.is_embedded() {
        return "the process with the file".to_owned();
    }
    format!("process {} ({:016x})", std::process::id(), rand::random::<u64>())
}

async fn pause(delay: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = stop.cancelled() => {}
    }
}
