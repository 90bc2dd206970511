//! Retention: what the inbox remembers, it forgets after a time, in small batches with pauses for the writers.
//!
//! A message that is delivered again later than that is handled again: the time has to be longer than any outage, and
//! longer than a queue may keep a message.

use std::time::{Duration, Instant};

use storage::{
    Database, Failure,
    lease::{Attempt, Lease},
};
use tokio_util::sync::CancellationToken;

use crate::{observe, retry};

/// How long the inbox remembers, unless it is set.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often it is looked for what is old enough.
const ROUND: Duration = Duration::from_secs(60);
/// Rows of one statement, which takes about a millisecond.
const BATCH: i64 = 200;
/// Pause between batches, as a multiple of the time that the last one took: so few writers meet one that their slowest hundredth
/// does not tell.
const PAUSE: u32 = 99;
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

    /// Forgets, now and every minute, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let rounds = async {
            loop {
                if let Err(failure) = self.round().await {
                    observe::storage_failed("retention", &failure);
                }
                tokio::time::sleep(ROUND).await;
            }
        };
        tokio::select! {
            () = rounds => {}
            () = stop.cancelled() => {}
        }
    }

    /// Forgets everything that is old enough by now, unless another process is at it, and returns how many rows that were.
    ///
    /// # Errors
    /// As [`Database::transact`]: the rest is left for another time.
    pub async fn round(&self) -> Result<u64, Failure> {
        let holder = format!("process {} ({:016x})", std::process::id(), rand::random::<u64>());
        let Attempt::Won(lease) = Lease::attempt(&self.database, "inbox retention", &holder, TERM).await?
        else {
            return Ok(0);
        };
        let forgotten = tokio::select! {
            () = lease.keep(TERM / 2) => Ok(0),
            forgotten = self.forget() => forgotten,
        };
        lease.release().await?;
        forgotten
    }

    async fn forget(&self) -> Result<u64, Failure> {
        let before = retry::now() - retry::micros(self.keep);
        let mut forgotten = 0;
        loop {
            let began = Instant::now();
            let batch = self.forget_batch(before).await?;
            forgotten += batch;
            if batch < BATCH.unsigned_abs() {
                return Ok(forgotten);
            }
            tokio::time::sleep(began.elapsed() * PAUSE).await;
        }
    }

    async fn forget_batch(&self, before: i64) -> Result<u64, Failure> {
        // Each row by its place: nobody changes rows of the inbox.
        let oldest = format!("FROM inbox WHERE receive_time < {before} ORDER BY receive_time LIMIT {BATCH}");
        let place = if self.database.is_embedded() {
            format!("rowid IN (SELECT rowid {oldest})")
        } else {
            // Only of an array does PostgreSQL look up the places one by one.
            format!("ctid = ANY (ARRAY(SELECT ctid {oldest}))")
        };
        self.database.execute_unflushed(format!("DELETE FROM inbox WHERE {place}")).await
    }
}
