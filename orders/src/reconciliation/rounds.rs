//! One round: the newest orders, those that are NEW, a part of the older ones, and what is suspected or known.

use std::time::{Duration, Instant};

use chassis::{clock::Micros, status::Chain};
use service::{decisions::MOST, list::first_id};
use uuid::Uuid;

use super::{
    Reconciliation,
    compare::{self, Compared},
    memory::Memory,
    status::observe,
};
use crate::store::{decisions, differences::Kind};

/// The longest range that is compared at once, in microseconds.
const MINUTE: Micros = 60_000_000;
/// Ranges of the newest orders in one round at most: what is left comes with the next one.
const RANGES: usize = 20;
/// The sweep takes this part of the time at most.
const PART: u32 = 20;
/// Between the end of a sweep and the next one.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(600);

impl Reconciliation {
    /// Compares what is due, and acts on what was found.
    ///
    /// # Errors
    /// Why nothing can be compared at present, for a person.
    pub(super) async fn round(&self, memory: &mut Memory) -> Result<(), String> {
        self.newest(memory).await?;
        self.undecided(memory).await?;
        self.sweep(memory).await?;
        self.confirm(memory).await?;
        self.look_again(memory).await?;
        self.count().await
    }

    async fn compare(
        &self,
        memory: &mut Memory,
        (from, until): (Micros, Micros),
        most: usize,
    ) -> Result<Compared, String> {
        let compared = compare::range(&self.orders, self.payments.as_ref(), from, until, most).await?;
        observe::compared(compared.orders);
        memory.answered_by(&compared.instance);
        // Decisions about orders that are NEW are looked for by themselves.
        let found = compared.differences.iter().filter(|difference| difference.kind != Kind::NotApplied);
        memory.suspect(found.cloned(), self.clock.now());
        Ok(compared)
    }

    /// Orders as soon as they are settled, each once, unless no more of these can be suspected. What is left of a range with too many differences is
    /// the sweep's.
    async fn newest(&self, memory: &mut Memory) -> Result<(), String> {
        let settled = (self.clock.now() - self.timing.settle_micros()) / 1_000 * 1_000;
        for _ in 0..RANGES {
            let (until, most) = (settled.min(memory.tail + MINUTE), memory.room_for_newest());
            if until <= memory.tail || most == 0 {
                break;
            }
            let compared = self.compare(memory, (memory.tail, until), most).await?;
            memory.tail = until;
            if let Some(left_at) = compared.left_at {
                memory.leave(left_at);
            }
        }
        Ok(())
    }

    /// A thousand of the orders that are NEW though they are settled: whether payments has decided about them.
    async fn undecided(&self, memory: &mut Memory) -> Result<(), String> {
        let before = first_id(self.clock.now() - self.timing.settle_micros());
        let ids = decisions::undecided(&self.database, memory.undecided, before, MOST as u64).await;
        let ids = ids.map_err(|error| Chain(&error).to_string())?;
        let more = ids.len() >= MOST;
        memory.undecided = ids.last().copied().filter(|_| more).unwrap_or(Uuid::nil());
        let (found, _) = compare::these(&self.orders, self.payments.as_ref(), &ids).await?;
        memory.suspect(found, self.clock.now());
        Ok(())
    }

    /// Older orders, backwards minute by minute; where there are none, nothing is asked. Of a minute with more differences than can be suspected
    /// at a time the rest comes when these are known.
    async fn sweep(&self, memory: &mut Memory) -> Result<(), String> {
        let (begun, most) = (Instant::now(), self.timing.every / PART);
        while Instant::now() >= memory.rest_until && begun.elapsed() < most && memory.room() > 0 {
            let until = memory.begin_sweep();
            let from = (until - 1) / MINUTE * MINUTE;
            let compared = self.compare(memory, (from, until), memory.room()).await?;
            if memory.sweep != until {
                // Everything is compared again.
                continue;
            }
            if let Some(left_at) = compared.left_at {
                memory.sweep = left_at;
            } else if let Some(earlier) = compared.earlier {
                // Ids have milliseconds.
                memory.sweep = from.min(earlier / 1_000 * 1_000 + 1_000);
            } else {
                self.forget().await?;
                memory.swept = Some(self.clock.now());
                memory.end_sweep(BETWEEN_SWEEPS);
            }
        }
        // A minute of many orders may have taken longer than it should.
        memory.rest_until = memory.rest_until.max(begun + begun.elapsed() * PART);
        Ok(())
    }
}
