//! Queries over shipments.

use sea_orm::{ConnectionTrait, DbErr, QueryFilter as _, entity::prelude::*};
use storage::rows;

use crate::domain::shipment::Shipment;

/// A row: see [`Shipment`].
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "shipments")]
pub struct Model {
    /// See [`Shipment::order_id`].
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: Uuid,
    /// See [`Shipment::user_id`].
    pub user_id: String,
    /// See [`Shipment::create_time`].
    pub create_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}

/// The shipment of an order, if it is `owner`'s; of any user without one.
///
/// # Errors
/// As the database says.
pub async fn find(
    connection: &impl ConnectionTrait,
    order_id: Uuid,
    owner: Option<&str>,
) -> Result<Option<Model>, DbErr> {
    let find = Entity::find_by_id(order_id);
    let find = owner.into_iter().fold(find, |find, owner| find.filter(Column::UserId.eq(owner)));
    find.one(connection).await
}

/// Adds the shipments of orders that have none.
///
/// # Errors
/// As the database says.
pub async fn add(transaction: &impl ConnectionTrait, shipments: Vec<Shipment>) -> Result<(), DbErr> {
    let row = |Shipment { order_id, user_id, create_time }| Model { order_id, user_id, create_time };
    let rows: Vec<Model> = shipments.into_iter().map(row).collect();
    rows::insert_new(transaction, &rows).await.map(drop)
}
