//! Expiry: orders that were not decided in time are offered to payments for voiding, again and again until they are decided.
//!
//! It never ends an order by itself, so it races with nobody: a payment that came first wins. Several processes may run it.

use std::{sync::Arc, time::Duration};

use chassis::{clock::Clock, status::Chain};
use messaging::{envelope::Envelope, outbox::Outbox};
use storage::{Database, Failure};
use tokio_util::sync::CancellationToken;

use crate::{messages, store::orders};

/// Orders of one transaction at most.
const BATCH: u64 = 100;
/// Between two looks: so late an expired order is found.
const POLL: Duration = Duration::from_secs(1);
/// How long payments has for its answer before it is asked again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends for the void of orders past their `expire_time`.
#[derive(Debug, Clone)]
pub struct Expiry {
    /// The orders.
    pub database: Database,
    /// Where the requests to void go.
    pub outbox: Outbox,
    /// By which orders expire.
    pub clock: Arc<dyn Clock>,
}

impl Expiry {
    /// Looks for expired orders until `stop`. A database that is away does not end it.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let full = match self.step().await {
                Ok(found) => found as u64 == BATCH,
                Err(failure) => {
                    tracing::warn!(error = %Chain(&failure), "cannot look for expired orders: trying again");
                    false
                }
            };
            if !full {
                tokio::select! {
                    () = tokio::time::sleep(POLL) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Sends for the void of one batch, and returns how many orders that were.
    ///
    /// # Errors
    /// As [`Database::transact`].
    pub async fn step(&self) -> Result<usize, Failure> {
        let this = self.clone();
        let found = self
            .database
            .transact(move |transaction| {
                let this = this.clone();
                Box::pin(async move {
                    let now = this.clock.now();
                    let patience = i64::try_from(PATIENCE.as_micros()).unwrap_or(i64::MAX);
                    let again = now.saturating_add(patience);
                    let expired = orders::take_expired(transaction, now, again, BATCH).await?;
                    let voids: Vec<Envelope> =
                        expired.iter().map(|order| messages::void(order, this.clock.as_ref(), now)).collect();
                    this.outbox.write(transaction, &voids).await?;
                    Ok(expired.len())
                })
            })
            .await?;
        if found > 0 {
            self.outbox.wake();
        }
        Ok(found)
    }
}
