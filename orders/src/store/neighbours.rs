//! The orders that were placed around one: as far as these have come, so has the consumer of their partition, which takes them in their order.

use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    entity::prelude::*,
};

use super::entity::order::{Column, Entity, Status};

/// Orders of each sort that are read at most: more than the consumers of a few partitions have in hand.
pub const MOST: u64 = 5_000;

/// The users of undecided orders that were placed before this id, the latest first, at most [`MOST`]; without the order itself.
///
/// # Errors
/// As the database says.
pub async fn undecided_before(
    connection: &impl ConnectionTrait,
    id: Uuid,
    order: Uuid,
) -> Result<Vec<String>, DbErr> {
    let find = Entity::find().select_only().column(Column::UserId).filter(Column::Id.ne(order));
    let find = find.filter(Column::Status.eq(Status::New)).filter(Column::Id.lt(id));
    find.order_by_desc(Column::Id).limit(MOST).into_tuple().all(connection).await
}

/// The users of the orders that were placed before this id and have ended, and when, the latest placed first, at most [`MOST`].
///
/// # Errors
/// As the database says.
pub async fn ended_before(connection: &impl ConnectionTrait, id: Uuid) -> Result<Vec<(String, i64)>, DbErr> {
    let find = Entity::find().select_only().columns([Column::UserId, Column::UpdateTime]);
    let find = find.filter(Column::Status.ne(Status::New)).filter(Column::Id.lt(id));
    find.order_by_desc(Column::Id).limit(MOST).into_tuple().all(connection).await
}

/// The users of the orders that were placed after this id and have ended, the first placed first, at most [`MOST`].
///
/// # Errors
/// As the database says.
pub async fn ended_after(connection: &impl ConnectionTrait, id: Uuid) -> Result<Vec<String>, DbErr> {
    let find = Entity::find().select_only().column(Column::UserId);
    let find = find.filter(Column::Status.ne(Status::New)).filter(Column::Id.gt(id));
    find.order_by_asc(Column::Id).limit(MOST).into_tuple().all(connection).await
}
