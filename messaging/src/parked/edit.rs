//! The payload of a parked message, changed by an operator. The original stays beside it.

use std::sync::Arc;

use sea_orm::{DbErr, EntityTrait as _, QueryFilter as _, QuerySelect as _, entity::prelude::*};
use storage::{Database, Failure, Transaction};

use super::{
    Column, Entity, Model, State,
    filter::Filter,
    note::{self, Operator},
    operate::Mode,
};

/// What an edit came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Edited<R> {
    /// The message as it is now; after a dry run, as it would be.
    Changed(Box<Model>),
    /// No such message is parked.
    Missing,
    /// It does not wait for an operator: it is held, or was sent back.
    NotParked(State),
    /// What was to be changed could not be.
    Refused(R),
}

/// Gives the message with this number the payload that `change` makes of it, unless it is sent back meanwhile. `what` says what is changed,
/// for the note.
///
/// # Errors
/// As [`Database::transact`].
pub async fn edit<R, C>(
    database: &Database,
    seq: i64,
    change: C,
    what: String,
    operator: Operator,
    mode: Mode,
) -> Result<Edited<R>, Failure>
where
    R: Send + 'static,
    C: Fn(&Model) -> Result<Vec<u8>, R> + Send + Sync + 'static,
{
    let change = Arc::new(change);
    let edited = database.transact(move |transaction| {
        let (change, what, operator) = (Arc::clone(&change), what.clone(), operator.clone());
        Box::pin(async move {
            let found = Entity::find_by_id(seq).lock_exclusive().one(transaction).await?;
            let Some(mut row) = found else { return Ok(Edited::Missing) };
            if row.state != State::Parked {
                return Ok(Edited::NotParked(row.state));
            }
            let payload = match change(&row) {
                Ok(payload) => payload,
                Err(refusal) => return Ok(Edited::Refused(refusal)),
            };
            let before = std::mem::replace(&mut row.payload, payload);
            row.original_payload.get_or_insert(before);
            if mode == Mode::Apply {
                write(transaction, &row).await?;
                let filter = format!("{}: {what}", Filter { seqs: vec![seq], ..Filter::default() });
                note::write(transaction, operator, "Edit", filter, 1).await?;
            }
            Ok(Edited::Changed(Box::new(row)))
        })
    });
    edited.await
}

async fn write(transaction: &Transaction, row: &Model) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Payload, Expr::value(row.payload.clone()))
        .col_expr(Column::OriginalPayload, Expr::value(row.original_payload.clone()))
        .filter(Column::Seq.eq(row.seq))
        .exec(transaction)
        .await
        .map(drop)
}
