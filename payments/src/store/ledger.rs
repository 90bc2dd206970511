//! Queries over ledger entries.

use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, entity::prelude::*,
};
use storage::rows;

use crate::domain::ledger::{ActiveModel, Column, Entity, Model};

/// Writes entries.
///
/// # Errors
/// As the database says; a violated constraint is a mistake of ours.
pub async fn append(transaction: &DatabaseTransaction, entries: &[Model]) -> Result<(), DbErr> {
    let models: Vec<ActiveModel> = entries.iter().cloned().map(active).collect();
    rows::insert(transaction, &models).await
}

fn active(entry: Model) -> ActiveModel {
    ActiveModel {
        id: Set(entry.id),
        user_id: Set(entry.user_id),
        sequence: Set(entry.sequence),
        entry_type: Set(entry.entry_type),
        amount: Set(entry.amount),
        balance_after: Set(entry.balance_after),
        order_id: Set(entry.order_id),
        request_id: Set(entry.request_id),
        fingerprint: Set(entry.fingerprint),
        counter_account: Set(entry.counter_account),
        create_time: Set(entry.create_time),
    }
}

/// The newest entries of an account that are older than `before`, the newest first.
///
/// # Errors
/// As the database says.
pub async fn page(
    connection: &impl ConnectionTrait,
    user_id: &str,
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::UserId.eq(user_id))
        .filter(Column::Sequence.lt(before.unwrap_or(i64::MAX)))
        .order_by_desc(Column::Sequence)
        .limit(limit)
        .all(connection)
        .await
}

/// The entries that top-ups with these (user id, key) pairs have booked already.
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
