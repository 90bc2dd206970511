//! One window of the outbox: what goes out together, and what has to be written down about it afterwards.

use std::{sync::Arc, time::Duration};

use storage::{Database, Failure};

use crate::{
    broker::Outcome,
    envelope::Envelope,
    outbox::{self, Model, Refusal},
    retry,
};

/// Rows published before their confirms are awaited: the broker's best rate is reached well below.
pub(super) const WINDOW: usize = 500;
/// Rows taken at a time: while one window is published, the one before is settled.
pub(super) const TAKEN: usize = 2_000;

/// How soon a message is tried again whose consumer takes nothing, unless the broker says before that it does again.
const POSTPONED: Duration = Duration::from_secs(60);

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Every row that was due is settled.
    Idle,
    /// There may be more.
    More,
    /// Every row that was there is published; those of the last window are still to be removed.
    Published,
    /// Rows were postponed and will be due soon.
    Postponed,
    /// The publisher is of no further use, for this reason.
    Lost(String),
}

impl Step {
    /// The step that ends with this window; `None` when the next one may follow. Nothing may follow a refusal: a row of the
    /// same key would overtake it.
    pub(super) fn after(settlement: &Settlement) -> Option<Self> {
        match &settlement.unknown {
            Some(reason) => Some(Self::Lost(reason.clone())),
            // What comes next of their keys is held back once this is settled; others need not wait for that.
            None if settlement.only_postponed() => Some(Self::More),
            None if settlement.postpones() => Some(Self::Postponed),
            None => None,
        }
    }
}

/// What is needed of a row to settle it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    seq: i64,
    attempts: i32,
    /// It was tried before, and may have held back others.
    tried: bool,
}

/// The messages of rows, published as `source`.
pub(super) fn open(rows: Vec<Model>, source: &str) -> (Vec<Ticket>, Vec<Envelope>) {
    let message = |row: Model| {
        let ticket = Ticket { seq: row.seq, attempts: row.attempts, tried: row.next_attempt_time > 0 };
        (ticket, row.into_envelope(source))
    };
    rows.into_iter().map(message).unzip()
}

/// The messages that the broker has taken over.
pub(super) fn confirmed<'w>(window: &'w [Envelope], outcomes: &[Outcome]) -> Vec<&'w Envelope> {
    let outcomes = window.iter().zip(outcomes);
    outcomes.filter(|(_, outcome)| **outcome == Outcome::Confirmed).map(|(message, _)| message).collect()
}

/// What has to be written down about a window. A row whose outcome is unknown is left as it is.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    pub(crate) confirmed: Vec<i64>,
    unroutable: Vec<i64>,
    postponed: Vec<i64>,
    refused: Vec<(Ticket, String)>,
    unknown: Option<String>,
    /// Something left that may have held back others.
    pub(super) released: bool,
}

impl Settlement {
    pub(super) fn of(tickets: &[Ticket], outcomes: Vec<Outcome>) -> Self {
        let mut settlement = Self::default();
        for (ticket, outcome) in tickets.iter().zip(outcomes) {
            match outcome {
                Outcome::Confirmed => {
                    settlement.confirmed.push(ticket.seq);
                    settlement.released |= ticket.tried;
                }
                Outcome::Unroutable => settlement.unroutable.push(ticket.seq),
                Outcome::Postponed => settlement.postponed.push(ticket.seq),
                Outcome::Refused(reason) => settlement.refused.push((*ticket, reason)),
                Outcome::Unknown(reason) => settlement.unknown = Some(reason),
            }
        }
        settlement
    }

    /// Each with a delay of its own, by how often it was refused before.
    fn refusals(&self, now: i64) -> Vec<Refusal> {
        let refusal = |(ticket, reason): &(Ticket, String)| Refusal {
            seq: ticket.seq,
            until: now + retry::micros(retry::after_refusals(ticket.attempts)),
            reason: reason.clone(),
        };
        self.refused.iter().map(refusal).collect()
    }

    const fn postpones(&self) -> bool {
        !self.unroutable.is_empty() || !self.refused.is_empty() || !self.postponed.is_empty()
    }

    /// Whether nothing is wrong with those that did not go but that their consumers take nothing.
    const fn only_postponed(&self) -> bool {
        !self.postponed.is_empty() && self.unroutable.is_empty() && self.refused.is_empty()
    }
}

/// Writes down what became of a window; what no queue was bound for is due again after `unroutable`.
pub(super) async fn settle(
    database: &Database,
    settlement: Settlement,
    unroutable: Duration,
) -> Result<(), Failure> {
    outbox::remove(database, &settlement.confirmed).await?;
    if !settlement.postpones() {
        return Ok(());
    }
    let settlement = Arc::new(settlement);
    let settled = database.transact(move |transaction| {
        let settlement = Arc::clone(&settlement);
        Box::pin(async move {
            let now = retry::now();
            let later = |delay: Duration| now + retry::micros(delay);
            outbox::unroutable(transaction, &settlement.unroutable, later(unroutable)).await?;
            outbox::postpone(transaction, &settlement.postponed, later(POSTPONED)).await?;
            outbox::refuse(transaction, &settlement.refusals(now)).await
        })
    });
    settled.await
}
