//! The idempotency keys of cancellations: each that was answered with the order, whichever of several calls it came with, for ever.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement, entity::prelude::*};
use storage::{
    Transaction,
    rows::{self, Write},
};

/// A key, and the order whose cancellation it came with.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "cancellation_keys")]
pub struct Model {
    /// Whose order it is: keys are unique per user.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: String,
    /// The key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_id: String,
    /// The order.
    pub order_id: Uuid,
}

impl ActiveModelBehavior for ActiveModel {}

// The row of an order has the key that came first. Versions before this table wrote it there only.
const FIND: &str = "SELECT order_id FROM cancellation_keys WHERE user_id = $1 AND request_id = $2 \
     UNION ALL SELECT id FROM orders WHERE user_id = $1 AND cancel_request_id = $2 LIMIT 1";

/// The order of a user whose cancellation was requested with this key.
///
/// # Errors
/// As the database says.
pub async fn find(transaction: &Transaction, user_id: &str, request_id: &str) -> Result<Option<Uuid>, DbErr> {
    let backend = transaction.get_database_backend();
    let find = Statement::from_sql_and_values(backend, FIND, [user_id.into(), request_id.into()]);
    transaction.query_one_raw(find).await?.map(|row| row.try_get_by_index(0)).transpose()
}

/// The statements that remember a key. One that another transaction has remembered meanwhile is not written, and the statement changes
/// fewer rows than it has to.
///
/// # Errors
/// None is expected.
pub fn remember(
    backend: DbBackend,
    user_id: &str,
    request_id: &str,
    order_id: Uuid,
) -> Result<Vec<Write>, DbErr> {
    let key = Model { user_id: user_id.to_owned(), request_id: request_id.to_owned(), order_id };
    rows::inserts_of_new(backend, &[key])
}
