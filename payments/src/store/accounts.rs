//! Queries over accounts.

use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement, Value, entity::prelude::*,
};
use storage::rows;

use crate::domain::account::{ActiveModel, Column, Entity, Model};

/// The account of a user.
///
/// # Errors
/// As the database says.
pub async fn find(connection: &impl ConnectionTrait, user_id: &str) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(user_id).one(connection).await
}

/// Accounts by user id, behind that of the user `after`.
///
/// # Errors
/// As the database says.
pub async fn page(connection: &impl ConnectionTrait, after: &str, limit: u64) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::UserId.gt(after))
        .order_by_asc(Column::UserId)
        .limit(limit)
        .all(connection)
        .await
}

/// The accounts of these users, held until the transaction ends. Everyone locks in the order of the user ids, so nobody waits
/// in a circle.
///
/// # Errors
/// As the database says.
pub async fn lock(
    transaction: &DatabaseTransaction,
    user_ids: impl IntoIterator<Item = &str>,
) -> Result<Vec<Model>, DbErr> {
    let mut user_ids: Vec<&str> = user_ids.into_iter().collect();
    user_ids.sort_unstable();
    user_ids.dedup();
    let mut accounts = Vec::with_capacity(user_ids.len());
    for run in rows::statements(&user_ids, |user_id| user_id.len() + 8) {
        let find =
            Entity::find().filter(Column::UserId.is_in(run.iter().copied())).order_by_asc(Column::UserId);
        let find = match transaction.get_database_backend() {
            DbBackend::Postgres => find.lock_exclusive(),
            // SQLite's immediate transaction holds everything already.
            _ => find,
        };
        accounts.extend(find.all(transaction).await?);
    }
    Ok(accounts)
}

/// Opens the accounts of users who have none, and returns the ids of those that were opened.
///
/// # Errors
/// As the database says.
pub async fn open(transaction: &DatabaseTransaction, accounts: &[Model]) -> Result<Vec<String>, DbErr> {
    let models: Vec<ActiveModel> = accounts.iter().cloned().map(active).collect();
    rows::insert_new(transaction, &models).await
}

fn active(account: Model) -> ActiveModel {
    ActiveModel {
        user_id: Set(account.user_id),
        balance: Set(account.balance),
        currency_code: Set(account.currency_code),
        version: Set(account.version),
        create_time: Set(account.create_time),
        update_time: Set(account.update_time),
        request_id: Set(account.request_id),
        fingerprint: Set(account.fingerprint),
    }
}

/// Writes each account's balance, version and time, provided that it still has the version it was loaded with.
///
/// # Errors
/// [`DbErr::RecordNotUpdated`] when one has not; else as the database says.
pub async fn update(transaction: &DatabaseTransaction, accounts: &[(Model, i64)]) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    for run in rows::statements(accounts, |(account, _)| account.user_id.len() + 64) {
        let mut values: Vec<Value> = Vec::with_capacity(run.len() * 5);
        let mut list = String::new();
        for (account, loaded) in run {
            let at = values.len();
            let comma = if at == 0 { "" } else { ", " };
            list += &format!("{comma}(${}, ${}, ${}, ${}, ${})", at + 1, at + 2, at + 3, at + 4, at + 5);
            values.extend([
                account.user_id.as_str().into(),
                (*loaded).into(),
                account.balance.into(),
                account.version.into(),
                account.update_time.into(),
            ]);
        }
        // Both databases call the columns of a VALUES list column1, column2 and so on.
        let sql = format!(
            "UPDATE accounts SET balance = loaded.column3, version = loaded.column4, update_time = loaded.column5 \
             FROM (VALUES {list}) AS loaded \
             WHERE accounts.user_id = loaded.column1 AND accounts.version = loaded.column2"
        );
        let updated = transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
        if updated.rows_affected() != run.len() as u64 {
            return Err(DbErr::RecordNotUpdated);
        }
    }
    Ok(())
}
