//! Requests that ask for the same as one that is parked: each is counted on its row, and not parked beside it.

use sea_orm::{
    DbErr, EntityTrait as _, ExprTrait as _, Order, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    entity::prelude::*,
    sea_query::{LockBehavior, LockType},
};
use storage::Transaction;

use super::{Column, Entity, Form, Parking};
use crate::{envelope::Envelope, inbox};

/// A request that was counted on the row of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repeat {
    pub(crate) message_id: Uuid,
    pub(crate) kind: String,
    pub(crate) traceparent: Option<String>,
    /// The message whose row counts it.
    pub(crate) parked_id: Uuid,
}

/// The message that asks for the same as another one.
enum First {
    /// It is about to be parked: this one of those.
    Given(usize, Uuid),
    /// It is parked, and held until the end of the transaction.
    Stored(i64, Uuid),
}

/// Takes those out that repeat another one, which is parked or about to be, and counts each of them there once. What cannot be decoded repeats
/// nothing. `is_new` when the inbox has said so of a message.
pub(crate) async fn fold<'m>(
    transaction: &Transaction,
    consumer: &str,
    parkings: Vec<Parking<'m>>,
    form: Form,
    is_new: impl Fn(&Envelope) -> bool,
    now: i64,
) -> Result<(Vec<Parking<'m>>, Vec<Repeat>), DbErr> {
    let (mut rest, mut repeats) = (Vec::<Parking<'m>>::with_capacity(parkings.len()), Vec::new());
    for parking in parkings {
        let first = match parking.message {
            Ok(message) => {
                first_of(transaction, consumer, &rest, message, form).await?.map(|it| (message, it))
            }
            Err(_) => None,
        };
        let Some((message, first)) = first else {
            rest.push(parking);
            continue;
        };
        let (First::Given(_, parked_id) | First::Stored(_, parked_id)) = first;
        // The broker has delivered it again: its own row is there, or the inbox has it since it was counted.
        if parked_id == message.id
            || !is_new(message) && inbox::new_among(transaction, consumer, [message], now).await?.is_empty()
        {
            continue;
        }
        match first {
            First::Given(at, _) => rest[at].repeats += 1,
            First::Stored(seq, _) => count(transaction, seq, now).await?,
        }
        let attributes = form.attributes(message);
        let (kind, traceparent) = (attributes.kind, attributes.traceparent);
        repeats.push(Repeat { message_id: message.id, kind, traceparent, parked_id });
    }
    Ok((rest, repeats))
}

/// The message that is about to be parked, or is, and asks for the same.
async fn first_of(
    transaction: &Transaction,
    consumer: &str,
    given: &[Parking<'_>],
    message: &Envelope,
    form: Form,
) -> Result<Option<First>, DbErr> {
    let is_same =
        |it: &Envelope| (&it.kind, &it.key, &it.payload) == (&message.kind, &message.key, &message.payload);
    for (at, parking) in given.iter().enumerate() {
        if let Ok(earlier) = parking.message
            && is_same(earlier)
        {
            return Ok(Some(First::Given(at, earlier.id)));
        }
    }
    let stored = stored(transaction, consumer, message, form).await?;
    Ok(stored.map(|(seq, id)| First::Stored(seq, id)))
}

/// The row of the message itself, if it is parked, or else the first that asks for the same.
async fn stored(
    transaction: &Transaction,
    consumer: &str,
    message: &Envelope,
    form: Form,
) -> Result<Option<(i64, Uuid)>, DbErr> {
    let attributes = form.attributes(message);
    Entity::find()
        .select_only()
        .columns([Column::Seq, Column::MessageId])
        .filter(Column::Consumer.eq(consumer))
        .filter(Column::PartitionKey.eq(attributes.key))
        .filter(Column::Kind.eq(attributes.kind))
        .filter(Column::MessageId.is_not_null())
        // An operator's edit is not what the sender repeats.
        .filter(
            Column::Payload
                .eq(message.payload.to_vec())
                .or(Column::OriginalPayload.eq(message.payload.to_vec())),
        )
        .order_by(Column::MessageId.eq(message.id), Order::Desc)
        .order_by_asc(Column::Seq)
        // It is not to leave before the repeat is counted. Whoever has it may wait for what this transaction holds: then the repeat is parked
        // by itself.
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_tuple()
        .one(transaction)
        .await
}

async fn count(transaction: &Transaction, seq: i64, now: i64) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Repeats, Expr::col(Column::Repeats).add(1))
        .col_expr(Column::LastRepeatTime, Expr::value(now))
        .filter(Column::Seq.eq(seq))
        .exec(transaction)
        .await
        .map(drop)
}
