//! What payments knows of one order, for an operator.

use chassis::{clock::timestamp, status::Fault};
use messaging::whereabouts::received;
use ordermesh::{
    payments::v1::{ExplainPaymentRequest, PaymentExplanation},
    rules,
};
use sea_orm::{EntityTrait as _, QueryFilter as _, entity::prelude::*};
use service::{request::Checks, whereabouts::Whereabouts};
use storage::Failure;
use uuid::Uuid;

use super::wire;
use crate::store::{entity::ledger, payments};

/// Messages that one call may name.
const MOST_MESSAGES: usize = 10;

/// Answers ExplainPayment.
///
/// # Errors
/// INVALID_FIELD. That the database is away is part of the answer.
pub(super) async fn explain(
    whereabouts: &Whereabouts,
    request: ExplainPaymentRequest,
) -> Result<PaymentExplanation, Fault> {
    let ExplainPaymentRequest { order_id, user_id, message_ids } = request;
    let few = message_ids.len() <= MOST_MESSAGES;
    let ids: Vec<Option<Uuid>> =
        [&order_id].into_iter().chain(&message_ids).map(|id| id.parse().ok()).collect();
    let are_ids = ids.iter().all(Option::is_some);
    Checks::default()
        .field("order_id", ids[0].map(drop).ok_or("must be a UUID"))
        .field("user_id", rules::user_id(&user_id))
        .field("message_ids", (few && are_ids).then_some(()).ok_or("must be at most 10 UUIDs"))
        .finish()?;
    let ids: Vec<Uuid> = ids.into_iter().flatten().collect();
    let mut explained = PaymentExplanation {
        whereabouts: Some(whereabouts.of(&user_id, &order_id).await),
        ..PaymentExplanation::default()
    };
    let is_away = explained.whereabouts.as_ref().is_some_and(|found| !found.database_error.is_empty());
    if is_away {
        return Ok(explained);
    }
    if let Err(error) = whereabouts.within(add_rows(whereabouts, &ids, &mut explained)).await
        && let Some(found) = &mut explained.whereabouts
    {
        found.database_error = error;
    }
    Ok(explained)
}

async fn add_rows(
    whereabouts: &Whereabouts,
    ids: &[Uuid],
    explained: &mut PaymentExplanation,
) -> Result<(), Failure> {
    let read = whereabouts.database.read();
    let Some(order_id) = ids.first().copied() else { return Ok(()) };
    if let Some((id, at)) = received(read, whereabouts.name, ids).await? {
        explained.receive_message_id = id.to_string();
        explained.receive_time = Some(timestamp(at));
    }
    let Some(payment) = payments::find(read, order_id, None).await? else { return Ok(()) };
    explained.payment = Some(wire::payment(&payment));
    if payment.ledger_entry_id.is_some() {
        let debit = ledger::Entity::find().filter(ledger::Column::OrderId.eq(order_id));
        let debit = debit.one(read).await?;
        explained.trace_id = debit.and_then(|debit| debit.trace_id).unwrap_or_default();
    }
    Ok(())
}
