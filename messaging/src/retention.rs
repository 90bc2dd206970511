//! Retention: what the inbox remembers, it forgets after a time, in small batches with pauses for the writers.
//!
//! A message that is delivered again later than that is handled again: the time has to be longer than any outage, and
//! longer than a queue may keep a message.

use std::time::{Duration, Instant};

use sea_orm::{EntityTrait as _, QueryFilter as _, QuerySelect as _, entity::prelude::*};
use storage::{
    Database, Failure, Outage,
    lease::{Attempt, Lease},
};
use tokio_util::sync::CancellationToken;

use crate::{inbox, observe, retry};

/// How long the inbox remembers, unless it is set.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often it is looked for what is old enough.
const ROUND: Duration = Duration::from_secs(60);
/// Rows of one statement, which takes about a millisecond.
const BATCH: i64 = 200;
/// Pause between batches, as a multiple of the time that the last one took: so few writers meet one that their slowest hundredth
/// does not say.
const PAUSE: f64 = 99.0;
/// The same when the oldest row is overdue by [`HURRIED`]: in four fifths of the time a database forgets far more than it can be given to
/// remember. In between the pauses shrink evenly, so that they come to rest where as much is forgotten as comes in.
const SHORTEST_PAUSE: f64 = 0.25;
/// A round finds rows overdue by up to [`ROUND`] and takes its time for them. What is older shows that it does not keep up.
const RELAXED: Duration = Duration::from_secs(120);
/// Little beside [`KEEP`].
const HURRIED: Duration = Duration::from_secs(600);
/// How often it is looked how much is overdue: cheap, one row of an index, and far more often than that changes.
const LOOK: Duration = Duration::from_secs(1);
/// The same between two rounds, for those who read the gauge.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// A process that died in the middle of a round delays the next one by this at most.
const TERM: Duration = Duration::from_secs(120);

/// Forgets old rows of the inbox. Every process may run one: one of them does it at a time.
#[derive(Debug)]
pub struct Retention {
    database: Database,
    keep: Duration,
}

impl Retention {
    /// Remembers for [`KEEP`].
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database, keep: KEEP }
    }

    /// Sets how long the inbox remembers.
    #[must_use]
    pub fn with_keep(self, keep: Duration) -> Self {
        Self { keep, ..self }
    }

    /// Forgets, now and every minute, until `stop`; a batch under way is finished first.
    pub async fn run(self, stop: CancellationToken) {
        let mut outage = Outage::default();
        while !stop.is_cancelled() {
            let round = self.round_until(&stop).await;
            observe::storage("retention", &mut outage, round.as_ref().map(|_| ()));
            tokio::select! {
                () = self.rest(&mut outage) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Looks now and then how far behind it is, until the next round.
    async fn rest(&self, outage: &mut Outage) {
        let (until, mut from) = (Instant::now() + ROUND, None);
        while Instant::now() < until {
            tokio::time::sleep(REPORT_EVERY).await;
            let look = self.look(from).await;
            observe::storage("retention", outage, look.as_ref().map(|_| ()));
            if let Ok(backlog) = look {
                from = backlog.oldest;
            }
        }
    }

    /// Forgets everything that is old enough by now, unless another process is at it, and returns how many rows that were.
    ///
    /// # Errors
    /// As [`Database::transact`]: the rest is left for another time.
    pub async fn round(&self) -> Result<u64, Failure> {
        self.round_until(&CancellationToken::new()).await
    }

    async fn round_until(&self, stop: &CancellationToken) -> Result<u64, Failure> {
        // Who does not remove them reports as well how many there are.
        let backlog = self.look(None).await?;
        let holder = format!("process {} ({:016x})", std::process::id(), rand::random::<u64>());
        let Attempt::Won(lease) = Lease::attempt(&self.database, "inbox retention", &holder, TERM).await?
        else {
            return Ok(0);
        };
        let forgotten = tokio::select! {
            () = lease.keep(TERM / 2) => Ok(0),
            forgotten = self.forget(backlog, stop) => forgotten,
        };
        lease.release().await?;
        forgotten
    }

    async fn forget(&self, mut backlog: Backlog, stop: &CancellationToken) -> Result<u64, Failure> {
        let mut forgotten = 0;
        loop {
            let began = Instant::now();
            let batch = self.forget_batch(&backlog).await?;
            let pause = began.elapsed().mul_f64(backlog.pause());
            forgotten += batch;
            if batch < BATCH.unsigned_abs() {
                backlog = self.look(backlog.oldest).await?;
                // The moment before which rows are old has moved on meanwhile.
                if backlog.overdue < RELAXED {
                    return Ok(forgotten);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return Ok(forgotten),
            }
            if backlog.seen.elapsed() >= LOOK {
                backlog = self.look(backlog.oldest).await?;
            }
        }
    }

    /// Looks how much is overdue, among the rows that are not older than `from`.
    async fn look(&self, from: Option<i64>) -> Result<Backlog, Failure> {
        let oldest = inbox::Entity::find()
            .select_only()
            .column_as(inbox::Column::ReceiveTime.min(), "oldest")
            // Behind what was forgotten: the index keeps that for a while, and whoever looks would walk over it.
            .filter(inbox::Column::ReceiveTime.gte(from.unwrap_or(i64::MIN)))
            .into_tuple::<Option<i64>>()
            .one(self.database.read());
        let oldest = oldest.await?.flatten();
        let before = retry::now() - retry::micros(self.keep);
        let overdue = oldest.map_or(0, |oldest| before.saturating_sub(oldest).max(0));
        let overdue = Duration::from_micros(overdue.unsigned_abs());
        observe::inbox_overdue(overdue);
        Ok(Backlog { before, oldest, overdue, seen: Instant::now() })
    }

    async fn forget_batch(&self, backlog: &Backlog) -> Result<u64, Failure> {
        // Each row by its place: nobody changes rows of the inbox.
        let (from, before) = (backlog.oldest.unwrap_or(i64::MIN), backlog.before);
        let oldest = format!(
            "FROM inbox WHERE receive_time >= {from} AND receive_time < {before} ORDER BY receive_time LIMIT {BATCH}"
        );
        let place = if self.database.is_embedded() {
            format!("rowid IN (SELECT rowid {oldest})")
        } else {
            // Only of an array does PostgreSQL look up the places one by one.
            format!("ctid = ANY (ARRAY(SELECT ctid {oldest}))")
        };
        self.database.execute_unflushed(format!("DELETE FROM inbox WHERE {place}")).await
    }
}

/// What is overdue.
#[derive(Debug)]
struct Backlog {
    /// Older rows are to be forgotten, in microseconds since the Unix epoch.
    before: i64,
    /// The oldest row.
    oldest: Option<i64>,
    /// How much older than it should be that one is.
    overdue: Duration,
    seen: Instant,
}

impl Backlog {
    /// How long to rest between batches, as a multiple of the last one's time.
    fn pause(&self) -> f64 {
        let (most, left) = (HURRIED - RELAXED, HURRIED.saturating_sub(self.overdue));
        let ease = (left.as_secs_f64() / most.as_secs_f64()).min(1.0);
        SHORTEST_PAUSE + (PAUSE - SHORTEST_PAUSE) * ease
    }
}
