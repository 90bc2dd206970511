//! The numbers of changes: how one process learns what others have written into the same database.
//!
//! Every row carries the number of the transaction that changed it last. On PostgreSQL that is the transaction's own id, and
//! `pg_snapshot_xmin` says below which number nothing is under way any more (PostgreSQL, chapter 9.27, "Transaction ID and
//! Snapshot Information"): a sequence would not do, because a smaller number can become visible after a larger one. SQLite has one
//! writer at a time, so counting up is enough.
//!
//! A dump that is restored, or replicated row by row, takes the numbers of another server along: those that the new one has yet to give
//! would look like changes once it gives them. No row that is visible can have such a number otherwise, so they are known by that.

use chassis::clock::Micros;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait as _, ExprTrait as _, FromQueryResult, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Statement, entity::prelude::*,
};

use crate::store::entity::order::{Column, Entity, Model};

/// Rows of one read at most. A transaction changes fewer, so that each of them is read whole.
const READ: usize = 1_000;
/// So many numbers ahead no order may have one of another server: more than are given between two looks of the feed.
const SOON: usize = 100_000;

/// The number that PostgreSQL gives to what a transaction writes: the default of the column.
const TRANSACTION: &str = "pg_current_xact_id()::text::bigint";
const COUNTED: &str = "(SELECT COALESCE(MAX(change_number), 0) + 1 FROM orders)";

/// The number of a change, as an expression inside the statement that makes it.
pub(crate) const fn number(backend: DbBackend) -> &'static str {
    if matches!(backend, DbBackend::Postgres) { TRANSACTION } else { COUNTED }
}

/// How far the numbers have come, and on which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Numbers {
    /// Everything below is committed and visible, or was rolled back.
    pub settled: i64,
    /// What distinguishes the server from others: a restored one has another (PostgreSQL, chapter 9.27, `pg_control_system`).
    pub server: i64,
    /// 1 when there are orders with numbers that this server is yet to give soon, else 0.
    pub foreign: i64,
}

/// How far the numbers have come.
///
/// # Errors
/// As the database says.
pub async fn numbers(connection: &impl ConnectionTrait) -> Result<Numbers, DbErr> {
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::Postgres => {
            format!("SELECT settled, server, CAST(CASE WHEN EXISTS (
                SELECT 1 FROM orders WHERE change_number >= next AND change_number < next + {SOON}
            ) THEN 1 ELSE 0 END AS bigint) AS \"foreign\" FROM (
                SELECT pg_snapshot_xmin(now)::text::bigint AS settled, pg_snapshot_xmax(now)::text::bigint AS next,
                    system_identifier AS server FROM pg_current_snapshot() AS now, pg_control_system()
            ) AS own")
        }
        _ => format!("SELECT {COUNTED} AS settled, 0 AS server, 0 AS \"foreign\""),
    };
    let numbers = Numbers::find_by_statement(Statement::from_string(backend, sql)).one(connection).await?;
    numbers.ok_or_else(|| DbErr::RecordNotFound("the number of a change".to_owned()))
}

/// What changed while the database moved: orders with numbers that this server has given lately, or that the other one had given from `published`
/// on, and that changed later than `looked` by the clocks of those who changed them; at most 1,000.
///
/// # Errors
/// As the database says.
pub async fn of_move(
    connection: &impl ConnectionTrait,
    (settled, published): (i64, i64),
    looked: Micros,
) -> Result<Vec<Model>, DbErr> {
    let lately = i64::try_from(SOON).unwrap_or(i64::MAX);
    let given = |from: i64, to: i64| Column::ChangeNumber.gte(from).and(Column::ChangeNumber.lt(to));
    let given = given((settled - lately).clamp(1, settled), settled)
        .or(given(published, published.saturating_add(lately)));
    let changed = Entity::find().filter(given).filter(Column::UpdateTime.gt(looked)).limit(READ as u64);
    changed.all(connection).await
}

/// Takes their numbers from orders that have those of another server, as far as this one comes to these numbers soon; at most 1,000 at
/// once. Returns how many had one; those that somebody holds are left for another time. For PostgreSQL.
///
/// # Errors
/// As the database says.
pub async fn clear_foreign(connection: &impl ConnectionTrait) -> Result<u64, DbErr> {
    // Not in the order in which others lock orders, so it waits for none of them: who changes an order gives it another number anyhow.
    let sql = format!(
        "UPDATE orders SET change_number = 0 FROM (
            SELECT id AS foreign_id
            FROM orders, (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next) AS own
            WHERE change_number >= next AND change_number < next + {SOON} ORDER BY change_number LIMIT {READ}
            FOR UPDATE OF orders SKIP LOCKED
        ) AS foreign_orders WHERE id = foreign_id"
    );
    Ok(connection.execute_unprepared(&sql).await?.rows_affected())
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
