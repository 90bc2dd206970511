//! The numbers of changes: how one process learns what others have written into the same database.
//!
//! Every row carries the number of the transaction that changed it last. On PostgreSQL that is the transaction's own id, and
//! `pg_snapshot_xmin` says below which number nothing is under way any more (PostgreSQL, chapter 9.27, "Transaction ID and
//! Snapshot Information"): a sequence would not do, because a smaller number can become visible after a larger one. SQLite has one
//! writer at a time, so counting up is enough.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    Statement, entity::prelude::*,
};

use crate::domain::order::{Column, Entity, Model};

/// Rows of one read at most. A transaction changes fewer, so that each of them is read whole.
const READ: usize = 1_000;

/// The number that PostgreSQL gives to what a transaction writes: the default of the column.
pub(crate) const TRANSACTION: &str = "pg_current_xact_id()::text::bigint";
const COUNTED: &str = "(SELECT COALESCE(MAX(change_number), 0) + 1 FROM orders)";

/// The number of a change, as an expression inside the statement that makes it.
pub(crate) const fn number(backend: DbBackend) -> &'static str {
    if matches!(backend, DbBackend::Postgres) { TRANSACTION } else { COUNTED }
}

/// How far the numbers have come: everything below is committed and visible, or was rolled back.
///
/// # Errors
/// As the database says.
pub async fn settled(connection: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let sql = match connection.get_database_backend() {
        DbBackend::Postgres => "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint".to_owned(),
        _ => format!("SELECT {COUNTED}"),
    };
    one_number(connection, &sql).await
}

/// The orders whose last change has a number from `from` on and below `to`, which must be settled, each as it is now. At most
/// 1,000 are read at once: the second value is the number to go on with.
///
/// # Errors
/// As the database says.
pub async fn since(
    connection: &impl ConnectionTrait,
    from: i64,
    to: i64,
) -> Result<(Vec<Model>, i64), DbErr> {
    let mut orders = Entity::find()
        .filter(Column::ChangeNumber.gte(from))
        .filter(Column::ChangeNumber.lt(to))
        .order_by_asc(Column::ChangeNumber)
        .limit(READ as u64)
        .all(connection)
        .await?;
    if orders.len() < READ {
        return Ok((orders, to));
    }
    // The last number may not be complete: it is left for the next read.
    let last = orders.last().map_or(to, |order| order.change_number);
    orders.retain(|order| order.change_number < last);
    Ok((orders, last))
}

async fn one_number(connection: &impl ConnectionTrait, sql: &str) -> Result<i64, DbErr> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(statement).await?;
    row.ok_or_else(nothing)?.try_get_by_index(0)
}

fn nothing() -> DbErr {
    DbErr::RecordNotFound("the number of a change".to_owned())
}
