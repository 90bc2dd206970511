//! Queries over orders.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Statement, Value,
    entity::prelude::*,
    sea_query::{LockBehavior, LockType},
};
use storage::rows;

use super::{
    changes,
    selection::{Cursor, Selection},
};
use crate::domain::{
    order::{ActiveModel, Column, Entity, Model, Status},
    settle::End,
};

/// The order with this id.
///
/// # Errors
/// As the database says.
pub async fn find(connection: &impl ConnectionTrait, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).one(connection).await
}

/// The orders with these ids, as far as there are any.
///
/// # Errors
/// As the database says.
pub async fn find_all(transaction: &DatabaseTransaction, ids: &[Uuid]) -> Result<Vec<Model>, DbErr> {
    let mut found = Vec::with_capacity(ids.len());
    for run in rows::statements(ids, |_| 22) {
        found.extend(Entity::find().filter(Column::Id.is_in(run.iter().copied())).all(transaction).await?);
    }
    Ok(found)
}

/// A page of a list, behind `cursor`.
///
/// # Errors
/// As the database says.
pub async fn page(
    connection: &impl ConnectionTrait,
    selection: &Selection,
    cursor: Option<Cursor>,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    selection.query(cursor, limit).all(connection).await
}

/// Places orders, and returns the ids of those whose key was not used before.
///
/// # Errors
/// As the database says.
pub async fn place(transaction: &DatabaseTransaction, orders: &[&Model]) -> Result<Vec<Uuid>, DbErr> {
    let number = changes::of_new_rows(transaction).await?;
    let models: Vec<ActiveModel> =
        orders.iter().map(|order| ActiveModel { change_number: number.clone(), ..active(order) }).collect();
    rows::insert_new(transaction, &models).await
}

fn active(order: &Model) -> ActiveModel {
    let order = order.clone();
    ActiveModel {
        id: Set(order.id),
        user_id: Set(order.user_id),
        amount: Set(order.amount),
        currency_code: Set(order.currency_code),
        description: Set(order.description),
        status: Set(order.status),
        cancel_reason: Set(order.cancel_reason),
        create_time: Set(order.create_time),
        update_time: Set(order.update_time),
        expire_time: Set(order.expire_time),
        cancel_request_time: Set(order.cancel_request_time),
        cancel_request_id: Set(order.cancel_request_id),
        void_due_time: Set(order.void_due_time),
        version: Set(order.version),
        change_number: NotSet,
        ledger_entry_id: Set(order.ledger_entry_id),
        request_id: Set(order.request_id),
        fingerprint: Set(order.fingerprint),
    }
}

/// The orders that these (user id, key) pairs have placed already.
///
/// # Errors
/// As the database says.
pub async fn find_requests(
    transaction: &DatabaseTransaction,
    requests: &[(&str, &str)],
) -> Result<Vec<Model>, DbErr> {
    let mut found = Vec::new();
    for run in rows::statements(requests, |(user_id, request_id)| user_id.len() + request_id.len() + 16) {
        // A few too many when one key is used by several users: the caller looks them up by the pair.
        let find = Entity::find()
            .filter(Column::UserId.is_in(run.iter().map(|(user_id, _)| *user_id)))
            .filter(Column::RequestId.is_in(run.iter().map(|(_, request_id)| *request_id)));
        found.extend(find.all(transaction).await?);
    }
    Ok(found)
}

/// The order with this id, held until the transaction ends.
///
/// # Errors
/// As the database says.
pub async fn lock(transaction: &DatabaseTransaction, id: Uuid) -> Result<Option<Model>, DbErr> {
    let find = Entity::find_by_id(id);
    let find = match transaction.get_database_backend() {
        DbBackend::Postgres => find.lock_exclusive(),
        // SQLite's immediate transaction holds everything already.
        _ => find,
    };
    find.one(transaction).await
}

/// The order of a user whose cancellation was requested with this key.
///
/// # Errors
/// As the database says.
pub async fn find_cancellation(
    transaction: &DatabaseTransaction,
    user_id: &str,
    request_id: &str,
) -> Result<Option<Model>, DbErr> {
    let find =
        Entity::find().filter(Column::UserId.eq(user_id)).filter(Column::CancelRequestId.eq(request_id));
    find.one(transaction).await
}

/// Writes down that the cancellation of an order was requested; the caller holds it, and it is NEW.
///
/// # Errors
/// When the key was used for another order of the user; else as the database says.
pub async fn request_cancellation(transaction: &DatabaseTransaction, order: &Model) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::CancelRequestTime, Expr::value(order.cancel_request_time))
        .col_expr(Column::CancelRequestId, Expr::value(order.cancel_request_id.clone()))
        .col_expr(Column::UpdateTime, Expr::value(order.update_time))
        .col_expr(Column::Version, Expr::value(order.version))
        .col_expr(Column::ChangeNumber, Expr::cust(changes::number(transaction.get_database_backend())))
        .filter(Column::Id.eq(order.id))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Takes orders that are still NEW at the time they are to be voided, those that wait longest first, and makes them due
/// `again`. What another process holds is left to it.
///
/// # Errors
/// As the database says.
pub async fn take_expired(
    transaction: &DatabaseTransaction,
    now: i64,
    again: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let find = Entity::find()
        // A literal: with a bound value a database cannot know that the index of undecided orders serves.
        .filter(Expr::cust(format!("status = {}", Status::New as i16)))
        .filter(Column::VoidDueTime.lte(now))
        .order_by_asc(Column::VoidDueTime)
        .limit(limit);
    let find = match transaction.get_database_backend() {
        DbBackend::Postgres => find.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
        _ => find,
    };
    let expired = find.all(transaction).await?;
    for run in rows::statements(&expired, |_| 22) {
        Entity::update_many()
            .col_expr(Column::VoidDueTime, Expr::value(again))
            .filter(Column::Id.is_in(run.iter().map(|order| order.id)))
            .exec(transaction)
            .await?;
    }
    Ok(expired)
}

/// Ends orders, as far as they are still NEW.
///
/// # Errors
/// [`DbErr::RecordNotUpdated`] when one is not; else as the database says.
pub async fn end(transaction: &DatabaseTransaction, ends: &[(Uuid, End)], now: i64) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    for run in rows::statements(ends, |_| 64) {
        let mut values: Vec<Value> = vec![now.into()];
        let mut list = String::new();
        for (id, end) in run {
            let (status, reason, entry) = end.columns();
            let at = values.len();
            let comma = if at == 1 { "" } else { ", " };
            list += &format!("{comma}(${}, ${}, ${}, ${})", at + 1, at + 2, at + 3, at + 4);
            let reason = reason.map(|reason| reason as i16);
            values.extend([(*id).into(), (status as i16).into(), reason.into(), entry.into()]);
        }
        let number = changes::number(backend);
        // Both databases call the columns of a VALUES list column1, column2 and so on.
        let sql = format!(
            "UPDATE orders SET status = ended.column2, cancel_reason = ended.column3, ledger_entry_id = ended.column4, \
             update_time = CASE WHEN update_time > $1 THEN update_time ELSE $1 END, version = version + 1, change_number = {number} \
             FROM (VALUES {list}) AS ended WHERE orders.id = ended.column1 AND orders.status = {}",
            Status::New as i16
        );
        let updated = transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
        if updated.rows_affected() != run.len() as u64 {
            return Err(DbErr::RecordNotUpdated);
        }
    }
    Ok(())
}
