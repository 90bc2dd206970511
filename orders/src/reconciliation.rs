//! Reconciliation: the decided orders of orders and of payments are compared all the time, what differs is found, kept, shown and healed.
//!
//! Of several processes one does it. It goes over the newest orders as soon as they are settled, over those that are still NEW, and back to
//! the first order and again, all of it by digests of a minute at most and never for more than a part of the time. What differs is
//! suspected first: it has to differ still when everything has been delivered that was on its way. Payments' decision is the truth about
//! what was paid, orders' row about what was ordered: a decision that was not applied is asked for again, one that payments has lost is made
//! again as it was or not at all, and everything else is left to an operator. Messages alone change anything, through the outbox.

pub mod side;
pub mod compare;
pub mod settings;
mod memory;
mod rounds;
mod suspects;
mod known;
pub mod heal;
pub mod status;

use std::{sync::Arc, time::Duration};

use chassis::clock::Clock;
use service::{decisions::Decisions, whereabouts::Whereabouts};
use storage::{
    Database, Failure,
    lease::{Attempt, Lease},
};
use tokio_util::sync::CancellationToken;

use self::{
    memory::Memory,
    settings::Timing,
    side::Sided,
    status::{Shared, observe},
};
use crate::expiry::Expiry;

/// The lease of the one that compares.
pub const LEASE: &str = "reconciliation";
/// Nobody waits for it: a process that has died is replaced after this time.
const TERM: Duration = Duration::from_secs(30);
/// What must be left of it while anything is done.
const MARGIN: Duration = Duration::from_secs(10);

/// Compares orders with payments, and heals.
#[derive(Debug, Clone)]
pub struct Reconciliation {
    /// The orders, and what is found.
    pub database: Database,
    /// The orders, as what is compared.
    pub orders: Decisions,
    /// The other side.
    pub payments: Sided,
    /// By whom payments is asked again.
    pub expiry: Expiry,
    /// Where the decisions of payments are on their way.
    pub whereabouts: Whereabouts,
    /// By which everything is timed.
    pub clock: Arc<dyn Clock>,
    /// How often, and when something is settled.
    pub timing: Timing,
    /// How far it is, for who asks in this process.
    pub status: Shared,
}

impl Reconciliation {
    /// Compares until `stop`, whenever no other process does. Neither a database nor a payments service that is away ends it.
    ///
    /// # Errors
    /// None.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let holder = self.clock.new_id().to_string();
        observe::begins();
        while !stop.is_cancelled() {
            // A file belongs to one process.
            if self.database.is_embedded() {
                self.rounds(&stop).await;
                continue;
            }
            match Lease::attempt(&self.database, LEASE, &holder, TERM).await {
                Ok(Attempt::Won(lease)) => {
                    tokio::select! {
                        () = lease.keep(MARGIN) => {}
                        () = self.rounds(&stop) => {}
                    }
                    self.status.stops();
                    if let Err(failure) = lease.release().await {
                        self.failed(&failure);
                    }
                }
                Ok(Attempt::Taken(left)) => {
                    self.status.stands_by();
                    self.pause(left.min(TERM), &stop).await;
                }
                Err(failure) => {
                    self.failed(&failure);
                    self.pause(self.timing.every, &stop).await;
                }
            }
        }
        Ok(())
    }

    fn failed(&self, failure: &Failure) {
        self.status.failed(&chassis::status::Chain(failure).to_string());
    }

    async fn rounds(&self, stop: &CancellationToken) {
        let mut memory = Memory::begun(self.clock.now(), &self.timing);
        while !stop.is_cancelled() {
            match self.round(&mut memory).await {
                Ok(()) => self.status.compared(&memory),
                Err(problem) => self.status.failed(&problem),
            }
            self.pause(self.timing.every, stop).await;
        }
    }

    async fn pause(&self, delay: Duration, stop: &CancellationToken) {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => {}
        }
    }
}
