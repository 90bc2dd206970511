//! The relay: takes rows out of the outbox to the broker, and settles each by what became of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use storage::{Database, Failure};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Broker, Outcome, Publisher},
    envelope::Envelope,
    observe,
    outbox::{self, Outbox, State},
    retry::{self, Backoff},
};

/// Rows published before their confirms are awaited: the broker's best rate is reached well below.
const WINDOW: u64 = 500;
/// The safety net under the bell: rows of a process that died between its commit and its call wait this long at most.
const POLL: Duration = Duration::from_secs(2);
/// How soon an unroutable message is tried again; a queue may have been bound.
const UNROUTABLE: Duration = Duration::from_secs(1);

/// Publishes the outbox of one database. It loses nothing: a row is removed only after its message was confirmed, and every
/// other end of an attempt, a crash among them, leaves the row to be published again.
#[derive(Debug)]
pub struct Relay {
    database: Database,
    outbox: Outbox,
    broker: Arc<dyn Broker>,
    source: String,
}

/// What one step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Every row that was due is settled.
    Idle,
    /// A full window went out: there may be more.
    More,
    /// Rows were postponed and will be due soon.
    Postponed,
    /// The publisher is of no further use.
    Lost,
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
        Self { database, outbox, broker, source: source.into() }
    }

    /// Publishes until `stop`; a window under way is settled first. Neither a broker nor a database that is away ends it.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let connected = tokio::select! {
                connected = self.broker.publisher() => connected,
                () = stop.cancelled() => return,
            };
            match connected {
                Ok(publisher) => {
                    backoff.reset();
                    self.publish_until_lost(publisher, &stop).await;
                }
                Err(error) => observe::broker_away("relay", &error),
            }
            pause(backoff.delay(), &stop).await;
        }
    }

    async fn publish_until_lost(&self, mut publisher: Box<dyn Publisher>, stop: &CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let rest = match self.step(publisher.as_mut()).await {
                Ok(Step::More) => Duration::ZERO,
                Ok(Step::Idle) => POLL,
                Ok(Step::Postponed) => UNROUTABLE,
                Ok(Step::Lost) => return,
                Err(failure) => {
                    observe::storage_failed("relay", &failure);
                    pause(backoff.delay(), stop).await;
                    continue;
                }
            };
            backoff.reset();
            if rest > Duration::ZERO {
                tokio::select! {
                    () = self.outbox.woken() => {}
                    () = tokio::time::sleep(rest) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Publishes one window and settles it.
    async fn step(&self, publisher: &mut dyn Publisher) -> Result<Step, Failure> {
        let rows = outbox::due(self.database.read(), retry::now(), WINDOW).await?;
        if rows.is_empty() {
            return Ok(Step::Idle);
        }
        let full = rows.len() as u64 == WINDOW;
        let (tickets, window): (Vec<Ticket>, Vec<Envelope>) = rows
            .into_iter()
            .map(|row| (Ticket { seq: row.seq, attempts: row.attempts }, self.envelope(row)))
            .unzip();
        let began = Instant::now();
        let outcomes = publisher.publish(&window).await;
        let settlement = Settlement::of(&tickets, outcomes);
        observe::window_published(window.len(), settlement.confirmed.len(), began.elapsed());
        let (lost, postponed) = (settlement.unknown.clone(), settlement.postpones());
        self.settle(settlement).await?;
        Ok(match lost {
            Some(reason) => {
                observe::publisher_lost(&reason);
                Step::Lost
            }
            None if full => Step::More,
            None if postponed => Step::Postponed,
            None => Step::Idle,
        })
    }

    fn envelope(&self, row: outbox::Model) -> Envelope {
        Envelope {
            id: row.message_id,
            kind: row.kind,
            key: row.partition_key,
            source: self.source.clone(),
            payload: row.payload.into(),
            traceparent: row.traceparent,
            create_time: row.create_time,
        }
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), Failure> {
        if settlement.is_empty() {
            return Ok(());
        }
        let settlement = Arc::new(settlement);
        self.database
            .transact(move |transaction| {
                let settlement = Arc::clone(&settlement);
                Box::pin(async move {
                    let now = retry::now();
                    outbox::remove(transaction, &settlement.confirmed).await?;
                    let soon = now + retry::micros(UNROUTABLE);
                    let none = "no queue is bound for this kind";
                    outbox::postpone(transaction, &settlement.unroutable, State::Unroutable, soon, none)
                        .await?;
                    for (ticket, reason) in &settlement.refused {
                        let later = now + retry::micros(retry::after_refusals(ticket.attempts));
                        outbox::postpone(transaction, &[ticket.seq], State::Pending, later, reason).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

#[derive(Debug, Clone, Copy)]
struct Ticket {
    seq: i64,
    attempts: i32,
}

/// What has to be written down about a window. A row whose outcome is unknown is left as it is.
#[derive(Debug, Default)]
struct Settlement {
    confirmed: Vec<i64>,
    unroutable: Vec<i64>,
    refused: Vec<(Ticket, String)>,
    unknown: Option<String>,
}

impl Settlement {
    fn of(tickets: &[Ticket], outcomes: Vec<Outcome>) -> Self {
        let mut settlement = Self::default();
        for (ticket, outcome) in tickets.iter().zip(outcomes) {
            match outcome {
                Outcome::Confirmed => settlement.confirmed.push(ticket.seq),
                Outcome::Unroutable => settlement.unroutable.push(ticket.seq),
                Outcome::Refused(reason) => settlement.refused.push((*ticket, reason)),
                Outcome::Unknown(reason) => settlement.unknown = Some(reason),
            }
        }
        settlement
    }

    const fn postpones(&self) -> bool {
        !self.unroutable.is_empty() || !self.refused.is_empty()
    }

    const fn is_empty(&self) -> bool {
        self.confirmed.is_empty() && !self.postpones()
    }
}

async fn pause(delay: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = stop.cancelled() => {}
    }
}
