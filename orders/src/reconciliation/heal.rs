//! Healing: a message to payments, through the outbox, which changes nothing when it comes twice.

use chassis::clock::Micros;
use messaging::envelope::Envelope;
use ordermesh::{payments::v1::RestoreDecision, reconciliation::v1::DecidedOrder};
use prost::Message as _;
use sea_orm::DbErr;
use storage::{Failure, Transaction};
use uuid::Uuid;

use super::Reconciliation;
use crate::{
    expiry::unsent,
    store::{
        differences::{self, Kind, Model},
        entity::order::{Model as Order, Status},
        orders,
    },
};

/// After the first attempt the next one comes so much later, and each further one after twice as long, in microseconds.
const FIRST: Micros = 30_000_000;
/// As long as it cannot be healed it is tried so often, in microseconds.
const LATEST: Micros = 3_600_000_000;

/// Writes down what has become of differences, and writes the messages that heal those that are due.
///
/// # Errors
/// As the database says.
pub(super) async fn heal(
    reconciliation: &Reconciliation,
    changed: &mut Vec<Model>,
    now: Micros,
) -> Result<(), Failure> {
    let (this, rows) = (reconciliation.clone(), changed.clone());
    let healed = reconciliation.database.transact(move |transaction| {
        let (this, mut rows) = (this.clone(), rows.clone());
        Box::pin(async move {
            this.send(transaction, &mut rows, now).await?;
            differences::update(transaction, &rows).await?;
            Ok(rows)
        })
    });
    *changed = healed.await?;
    reconciliation.expiry.outbox.wake();
    Ok(())
}

impl Reconciliation {
    async fn send(&self, transaction: &Transaction, rows: &mut [Model], now: Micros) -> Result<(), DbErr> {
        // Of an attempt whose message has not left yet there is nothing to be repeated.
        let last: Vec<Uuid> = rows.iter().filter_map(|row| row.message_id).collect();
        let waiting = unsent(transaction, &last).await?;
        let (mut ids, mut lost) = (Vec::new(), Vec::new());
        for row in rows.iter_mut().filter(|row| row.next_heal_time.is_some_and(|due| due <= now)) {
            row.next_heal_time = Some(next(row.heal_attempts, now));
            if row.message_id.is_some_and(|id| waiting.contains(&id)) {
                continue;
            }
            row.heal_attempts = row.heal_attempts.saturating_add(1);
            match row.kind {
                Kind::NotApplied => ids.push(row.order_id),
                Kind::DecisionLost => {
                    ids.push(row.order_id);
                    lost.push(row);
                }
                Kind::OrderLost | Kind::Contradiction => row.next_heal_time = None,
            }
        }
        let held = orders::lock(transaction, &ids).await?;
        let mut messages = Vec::with_capacity(lost.len());
        for row in lost {
            let placed = held.iter().find(|order| order.id == row.order_id);
            let message = restore(row, placed, self.clock.new_id(), now);
            row.message_id = message.as_ref().map(|message| message.id);
            messages.extend(message);
        }
        let held = held.into_iter().filter(|order| order.status == Status::New);
        self.expiry.ask_about(transaction, held.collect(), now).await?;
        self.expiry.outbox.write(transaction, &messages).await
    }
}

/// When it is tried again after so many attempts.
fn next(attempts: i32, now: Micros) -> Micros {
    let doublings = u32::try_from(attempts).unwrap_or_default().min(10);
    now + (FIRST << doublings).min(LATEST)
}

/// Asks payments to decide as it had, on behalf of who has placed the order.
fn restore(row: &Model, placed: Option<&Order>, id: Uuid, now: Micros) -> Option<Envelope> {
    let order = DecidedOrder::decode(row.orders_has.as_deref()?).ok()?;
    let payload = RestoreDecision {
        order_id: order.order_id,
        user_id: order.user_id.clone(),
        amount: order.amount,
        currency_code: order.currency_code,
        outcome: order.outcome,
        reason: order.reason,
        ledger_entry_id: order.ledger_entry_id,
        x_request_id: placed.and_then(|placed| placed.x_request_id.clone()).unwrap_or_default(),
    };
    let message = Envelope::new(id, order.user_id, &payload, now);
    let subject = placed.and_then(|placed| placed.subject.as_deref());
    Some(message.on_behalf_of(subject, placed.and_then(|placed| placed.token_id.as_deref())))
}
