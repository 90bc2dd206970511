//! Queries over payment decisions.

use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
    entity::prelude::*,
};
use storage::rows;

use crate::domain::payment::{ActiveModel, Column, Entity, Model};

/// The decision about an order.
///
/// # Errors
/// As the database says.
pub async fn find(connection: &impl ConnectionTrait, order_id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(order_id).one(connection).await
}

/// The decisions about these orders, as far as there are any.
///
/// # Errors
/// As the database says.
pub async fn find_all(transaction: &DatabaseTransaction, order_ids: &[Uuid]) -> Result<Vec<Model>, DbErr> {
    let mut found = Vec::new();
    for run in rows::statements(order_ids, |_| 22) {
        found.extend(
            Entity::find().filter(Column::OrderId.is_in(run.iter().copied())).all(transaction).await?,
        );
    }
    Ok(found)
}

/// Writes decisions, each for an order that has none.
///
/// # Errors
/// [`DbErr::RecordNotInserted`] when one has; else as the database says.
pub async fn record(transaction: &DatabaseTransaction, payments: &[Model]) -> Result<(), DbErr> {
    let models: Vec<ActiveModel> = payments.iter().cloned().map(active).collect();
    let recorded = rows::insert_new(transaction, &models).await?;
    if recorded.len() == payments.len() { Ok(()) } else { Err(DbErr::RecordNotInserted) }
}

fn active(payment: Model) -> ActiveModel {
    ActiveModel {
        order_id: Set(payment.order_id),
        user_id: Set(payment.user_id),
        amount: Set(payment.amount),
        currency_code: Set(payment.currency_code),
        outcome: Set(payment.outcome),
        reason: Set(payment.reason),
        account_version: Set(payment.account_version),
        balance_observed: Set(payment.balance_observed),
        ledger_entry_id: Set(payment.ledger_entry_id),
        decide_time: Set(payment.decide_time),
    }
}
