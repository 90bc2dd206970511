//! Queries over accounts.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait as _, Order, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Statement, entity::prelude::*, sea_query::ExprTrait as _,
};
use storage::rows::{self, Write};

use crate::store::entity::account::{Column, Entity, Model};

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
    // The bytes' order, whatever the language of the database: see the index of that name.
    let by_bytes = match connection.get_database_backend() {
        DbBackend::Postgres => Expr::cust("accounts.user_id COLLATE \"C\""),
        _ => Expr::col((Entity, Column::UserId)),
    };
    Entity::find()
        .filter(by_bytes.clone().gt(after))
        .order_by(by_bytes, Order::Asc)
        .limit(limit)
        .all(connection)
        .await
}

/// The accounts of these users, held until the transaction ends. Everyone locks in the order of the user ids' bytes, whatever the
/// language of the database, so nobody waits in a circle.
///
/// # Errors
/// As the database says.
pub async fn lock(
    transaction: &impl ConnectionTrait,
    user_ids: impl IntoIterator<Item = &str>,
) -> Result<Vec<Model>, DbErr> {
    // SQLite's immediate transaction holds everything already.
    let postgres = transaction.get_database_backend() == DbBackend::Postgres;
    let end = if postgres { "ORDER BY user_id COLLATE \"C\" FOR UPDATE" } else { "" };
    select(transaction, user_ids, end).await
}

/// The accounts of these users, as they are at the moment.
///
/// # Errors
/// As the database says.
pub async fn find_all(
    connection: &impl ConnectionTrait,
    user_ids: impl IntoIterator<Item = &str>,
) -> Result<Vec<Model>, DbErr> {
    select(connection, user_ids, "").await
}

async fn select(
    connection: &impl ConnectionTrait,
    user_ids: impl IntoIterator<Item = &str>,
    end: &str,
) -> Result<Vec<Model>, DbErr> {
    let mut user_ids: Vec<&str> = user_ids.into_iter().collect();
    user_ids.sort_unstable();
    user_ids.dedup();
    let backend = connection.get_database_backend();
    let mut accounts = Vec::with_capacity(user_ids.len());
    for run in rows::statements(&user_ids, |user_id| user_id.len() + 8) {
        let table =
            rows::table(backend, "requested", &["text"], run.iter().map(|user_id| vec![(*user_id).into()]))?;
        let sql = format!(
            "SELECT {} FROM accounts WHERE {} {end}",
            rows::columns::<Entity>(),
            table.has("user_id")
        );
        let find = Statement::from_sql_and_values(backend, sql, table.values);
        accounts.extend(Entity::find().from_raw_sql(find).all(connection).await?);
    }
    Ok(accounts)
}

/// Opens the accounts of users who have none, and returns the ids of those that were opened.
///
/// # Errors
/// As the database says.
pub async fn open(transaction: &impl ConnectionTrait, accounts: &[Model]) -> Result<Vec<String>, DbErr> {
    rows::insert_new(transaction, accounts).await
}

/// The statements that write each account's balance, version and time, provided that it still has the version it was loaded with. They
/// hold the accounts in their order here, which has to be that of [`lock`].
///
/// # Errors
/// None is expected.
pub fn updates(backend: DbBackend, accounts: &[(Model, i64)]) -> Result<Vec<Write>, DbErr> {
    let update = |run: &[(Model, i64)]| {
        let row = |(account, loaded): &(Model, i64)| {
            vec![
                account.user_id.as_str().into(),
                (*loaded).into(),
                account.balance.into(),
                account.version.into(),
                account.update_time.into(),
            ]
        };
        let types = ["text", "bigint", "bigint", "bigint", "bigint"];
        let loaded = rows::lookup(backend, "loaded", &types, run.iter().map(row))?;
        let same = "accounts.user_id = loaded.column1 AND accounts.version = loaded.column2";
        let sql = format!(
            "UPDATE accounts SET balance = loaded.column3, version = loaded.column4, update_time = loaded.column5 \
             FROM {} WHERE {same}",
            loaded.sql
        );
        // Top-ups and payments meet on an account every day.
        let lock = format!(
            "SELECT 1 FROM accounts, {} WHERE {same} ORDER BY accounts.user_id COLLATE \"C\" FOR UPDATE OF accounts",
            loaded.sql
        );
        Ok(Write::new(sql, loaded.values, run.len()).guarded(lock))
    };
    rows::statements(accounts, |(account, _)| account.user_id.len() + 80).into_iter().map(update).collect()
}
