//! Expiry: payments is asked again about orders that it has not decided, ever more seldom, and from their expiry on for their void.
//!
//! So a request or an answer that a broker has lost costs time, nothing else: a decision is written once, and who asks again gets that.
//! As long as the message that asked last waits in the outbox, no further one is written: an outage piles nothing up. It never ends an order
//! by itself, so it races with nobody: a payment that came first wins. Several processes may run it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chassis::{
    clock::{Clock, Micros},
    status::Chain,
};
use messaging::{envelope::Envelope, outbox::Outbox};
use metrics::{describe_gauge, gauge};
use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use storage::{Database, Failure, Outage, Transaction, rows};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    messages,
    store::{entity::order::Model as Order, orders},
};

/// Orders of one transaction at most.
const BATCH: u64 = 100;
/// Between two looks: so late an order that is due is found.
const POLL: Duration = Duration::from_secs(1);

const OLDEST: &str = "orders_oldest_new_age_seconds";

/// Asks payments again about orders that it has not decided: for their payment, and past their `expire_time` for their void.
#[derive(Debug, Clone)]
pub struct Expiry {
    /// The orders.
    pub database: Database,
    /// Where the requests go.
    pub outbox: Outbox,
    /// By which orders expire.
    pub clock: Arc<dyn Clock>,
}

impl Expiry {
    /// Looks for orders that are due until `stop`. A database that is away does not end it.
    ///
    /// # Errors
    /// None.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        describe_gauge!(OLDEST, "how long the oldest order that is NEW waits for its end; 0 when none is");
        let mut outage = Outage::default();
        while !stop.is_cancelled() {
            self.measure().await;
            let full = match self.step().await {
                Ok(found) => {
                    if outage.ends() {
                        tracing::info!("orders that were not decided are looked for again");
                    }
                    found as u64 == BATCH
                }
                Err(failure) => {
                    if outage.fails() {
                        tracing::warn!(error = %Chain(&failure), "cannot look for orders that were not decided: trying again");
                    }
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
        Ok(())
    }

    /// Asks again about one batch, and returns how many orders were due.
    ///
    /// # Errors
    /// As [`Database::transact`].
    pub async fn step(&self) -> Result<usize, Failure> {
        let this = self.clone();
        let (due, asked) = self
            .database
            .transact(move |transaction| {
                let this = this.clone();
                Box::pin(async move { this.ask(transaction).await })
            })
            .await?;
        if asked > 0 {
            tracing::info!(orders.asked = asked, "payments has not decided yet: it is asked again");
            self.outbox.wake();
        }
        Ok(due)
    }

    /// Shows how long the oldest order waits, while the database says it: a gauge that nobody sets disappears.
    async fn measure(&self) {
        if let Ok(oldest) = orders::oldest_new(self.database.read()).await {
            let waits = oldest.map_or(0, |placed| self.clock.now().saturating_sub(placed));
            gauge!(OLDEST).set(Duration::from_micros(u64::try_from(waits).unwrap_or_default()).as_secs_f64());
        }
    }

    /// How many orders were due, and about how many of them payments is asked.
    async fn ask(&self, transaction: &Transaction) -> Result<(usize, usize), DbErr> {
        let now = self.clock.now();
        let due = orders::lock_due(transaction, now, BATCH).await?;
        let count = due.len();
        Ok((count, self.ask_about(transaction, due, now).await?))
    }

    /// Asks payments about orders that the caller holds and that are NEW, unless the message that asked last waits to be published; returns
    /// how many it asks about. The relay is to be woken after the commit.
    ///
    /// # Errors
    /// As the database says.
    pub(crate) async fn ask_about(
        &self,
        transaction: &Transaction,
        mut due: Vec<Order>,
        now: Micros,
    ) -> Result<usize, DbErr> {
        let last: Vec<Uuid> = due.iter().map(Order::last_message).collect();
        let unsent = unsent(transaction, &last).await?;
        let mut messages = Vec::new();
        for order in &mut due {
            order.ask_due_time = order.next_ask(now);
            if !unsent.contains(&order.last_message()) {
                let id = self.clock.new_id();
                order.asked_message_id = Some(id);
                messages.push(request(order, id, now));
            }
        }
        let backend = transaction.get_database_backend();
        let mut writes = orders::record_requests(backend, &due)?;
        let asked = messages.len();
        writes.extend(self.outbox.writes(backend, messages)?);
        rows::write(transaction, &writes).await?;
        Ok(asked)
    }
}

/// What payments is asked about an undecided order at `now`.
fn request(order: &Order, id: Uuid, now: Micros) -> Envelope {
    if order.cancel_request_time.is_some() || order.is_expired(now) {
        messages::void(order, id, now)
    } else {
        messages::placed(order, id, now)
    }
}

/// Which of these messages still wait in the outbox, each found by the key of its id. For every number of them it is the same prepared
/// statement on PostgreSQL.
///
/// # Errors
/// As the database says.
pub(crate) async fn unsent(transaction: &Transaction, ids: &[Uuid]) -> Result<HashSet<Uuid>, DbErr> {
    let backend = transaction.get_database_backend();
    let mut found = HashSet::with_capacity(ids.len());
    for run in rows::statements(ids, |_| 37) {
        let requests = rows::table(backend, "requests", &["uuid"], run.iter().map(|id| [(*id).into()]))?;
        let find = format!("SELECT message_id FROM outbox WHERE {}", requests.has("message_id"));
        let find = Statement::from_sql_and_values(backend, find, requests.values);
        for row in transaction.query_all_raw(find).await? {
            found.insert(row.try_get_by_index(0)?);
        }
    }
    Ok(found)
}
