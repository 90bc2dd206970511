//! Queries over payment decisions.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait as _, QueryFilter as _, Statement, entity::prelude::*,
};
use storage::rows::{self, Write};

use crate::store::entity::payment::{Column, Entity, Model};

/// The decision about an order, if it is `owner`'s; of any user without one.
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

/// The decisions about these orders, as far as there are any.
///
/// # Errors
/// As the database says.
pub async fn find_all(connection: &impl ConnectionTrait, order_ids: &[Uuid]) -> Result<Vec<Model>, DbErr> {
    let backend = connection.get_database_backend();
    let mut found = Vec::new();
    for run in rows::statements(order_ids, |_| 37) {
        let table = rows::table(backend, "requested", &["uuid"], run.iter().map(|id| vec![(*id).into()]))?;
        let sql =
            format!("SELECT {} FROM payments WHERE {}", rows::columns::<Entity>(), table.has("order_id"));
        let find = Statement::from_sql_and_values(backend, sql, table.values);
        found.extend(Entity::find().from_raw_sql(find).all(connection).await?);
    }
    Ok(found)
}

/// The statements that write decisions. For an order that has one none is written, and the statement changes fewer rows than it has to.
///
/// # Errors
/// None is expected.
pub fn records(backend: DbBackend, payments: &[Model]) -> Result<Vec<Write>, DbErr> {
    rows::inserts_of_new(backend, payments)
}
