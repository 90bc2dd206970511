//! Queries over ledger entries.

use chassis::clock::Micros;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    entity::prelude::*, sea_query::SimpleExpr,
};
use service::{
    filter::Operator,
    list::{compare, equal},
};
use storage::rows::{self, Write};

use crate::store::entity::ledger::{Column, Entity, EntryType, Model};

/// The statements that write entries. One of an order that was debited before is not written, and the statement changes fewer rows than it
/// has to.
///
/// # Errors
/// None is expected.
pub fn appends(backend: DbBackend, entries: &[Model]) -> Result<Vec<Write>, DbErr> {
    rows::inserts_of_new(backend, entries)
}

/// Every entry as a movement of money: see [`service::audit::Audit::movements`].
pub const MOVEMENTS: &str = "SELECT id, CASE entry_type WHEN 1 THEN 'TOP_UP' ELSE 'ORDER_DEBIT' END AS action, subject, token_id, \
     trace_id, request_id, user_id, order_id, amount, x_request_id FROM ledger_entries";

/// What one comparison of a filter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The kind of booking; by `=` or `!=`. `None`: the one that no entry has.
    Type(Operator, Option<EntryType>),
    /// The amount, in minor units, signed.
    Amount(Operator, i64),
    /// The time of booking.
    CreateTime(Operator, Micros),
    /// The order that was paid; by `=` or `!=`. `None`: no order.
    OrderId(Operator, Option<Uuid>),
    /// The idempotency key; by `=` or `!=`. `None`: no key.
    RequestId(Operator, Option<String>),
}

impl Condition {
    fn expression(&self) -> SimpleExpr {
        match self {
            Self::Type(operator, Some(kind)) => compare(Column::EntryType, *operator, *kind),
            Self::Type(operator, None) => equal(Column::EntryType, *operator, None::<EntryType>),
            Self::Amount(operator, amount) => compare(Column::Amount, *operator, *amount),
            Self::CreateTime(operator, at) => compare(Column::CreateTime, *operator, *at),
            Self::OrderId(operator, id) => equal(Column::OrderId, *operator, *id),
            Self::RequestId(operator, key) => equal(Column::RequestId, *operator, key.as_deref()),
        }
    }
}

/// The newest entries of an account that meet every condition and are older than `before`, the newest first.
///
/// # Errors
/// As the database says.
pub async fn page(
    connection: &impl ConnectionTrait,
    user_id: &str,
    conditions: &[Condition],
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let of_account = Entity::find()
        .filter(Column::UserId.eq(user_id))
        .filter(Column::Sequence.lt(before.unwrap_or(i64::MAX)));
    conditions
        .iter()
        .fold(of_account, |find, condition| find.filter(condition.expression()))
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
    connection: &impl ConnectionTrait,
    requests: &[(&str, &str)],
) -> Result<Vec<Model>, DbErr> {
    let mut found = Vec::new();
    for run in rows::statements(requests, |(user_id, request_id)| user_id.len() + request_id.len() + 16) {
        // A few too many when one key is used by several users: the caller looks them up by the pair.
        let find = Entity::find()
            .filter(Column::UserId.is_in(run.iter().map(|(user_id, _)| *user_id)))
            .filter(Column::RequestId.is_in(run.iter().map(|(_, request_id)| *request_id)));
        found.extend(find.all(connection).await?);
    }
    Ok(found)
}
